/** A server that plays a script, one for each connection, in order; and what it says in them. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { WebSocket as PackageSocket, WebSocketServer } from 'ws'
import type { AgentEvent } from '../src/index.js'

export type Metadata = Record<string, unknown>
export type Script = (client: Connection) => Promise<void>

/** The server's end of a connection. */
export class Connection {
  private readonly heard: AgentEvent[] = []
  private wake: () => void = () => undefined
  private closed = false

  constructor(
    readonly socket: PackageSocket,
    readonly path: string,
  ) {
    socket.on('message', (data) => {
      this.heard.push(JSON.parse(String(data)) as AgentEvent)
      this.wake()
    })
    socket.on('close', () => {
      this.closed = true
      this.wake()
    })
  }

  say(...events: object[]): void {
    for (const event of events) this.socket.send(JSON.stringify(event))
  }

  /** The next event of this name; those before it are passed over. */
  async hear(name: string): Promise<AgentEvent> {
    for (;;) {
      const event = this.heard.shift()
      if (event && (event.event ?? event['type']) === name) return event
      if (event) continue
      assert.ok(!this.closed, `the client left and did not say ${name}`)
      await new Promise<void>((resolve) => (this.wake = resolve))
    }
  }

  cut(): void {
    this.socket.terminate()
  }
}

/** Plays the scripts while `story` runs, and checks that each had its connection. */
export async function playing(scripts: Script[], story: (url: string) => Promise<void>): Promise<void> {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0 })
  await once(server, 'listening')
  const failures: unknown[] = []
  const left = [...scripts]
  server.on('connection', (socket: PackageSocket, request: IncomingMessage) => {
    const script = left.shift()
    if (!script) return failures.push('a connection too many')
    return script(new Connection(socket, request.url ?? '')).catch((error: unknown) => failures.push(error))
  })
  try {
    await story(`ws://127.0.0.1:${(server.address() as AddressInfo).port}/s/test`)
    // Connections are counted when they are there.
    await new Promise((resolve) => setImmediate(resolve))
  } finally {
    for (const socket of server.clients) socket.terminate()
    server.close()
  }
  assert.deepEqual(failures, [])
  assert.equal(left.length, 0, `${left.length} connections never came`)
}

export const event = (seq: number, name = 'agent.partial_answer', metadata: Metadata = {}) => {
  return { event: name, session_id: 's', seq, content: String(seq), metadata }
}
export const final = (seq: number) => event(seq, 'agent.final_answer')
export const notice = (code: string, metadata: Metadata = {}) => {
  return { event: 'system.notice', session_id: 's', content: code, metadata: { code, ...metadata } }
}
export const restored = (last_seq: number, metadata: Metadata = {}) => {
  return { event: 'agent.state_restored', session_id: 's', metadata: { last_seq, ...metadata } }
}
export const replayed = notice('replay')

export const create: Script = async (client) => {
  client.say({ event: 'system.connected' })
  await client.hear('user.create_session')
  client.say(event(1, 'agent.session_created', { agent_name: 'test' }))
}
export const createAnd = (then: Script): Script => async (client) => {
  await create(client)
  await then(client)
}
export const lose: Script = async (client) => {
  await client.hear('user.message')
  client.cut()
}
