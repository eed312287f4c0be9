/**
 * A chat in the terminal that survives its network.
 *
 *   node dist/chat.js ws://HOST:PORT/s/SERVICE [--state FILE] [--resend never|unreceived|always] [--json] [MESSAGE…]
 *
 * With messages it sends them one after the other and ends; without, it reads them from the terminal. Ctrl-C cancels an
 * answer, or ends the chat. Exit code 0: every message was answered; 1: one was not; 2: usage; 3: the session is lost.
 */

import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { createInterface } from 'node:readline/promises'
import { parseArgs } from 'node:util'
import { ClientError, MessageUnknown, SessionLost, connect } from './src/index.js'
import type { AgentEvent, Options, Session, SessionState, SocketConstructor } from './src/index.js'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { state: { type: 'string' }, resend: { type: 'string' }, json: { type: 'boolean' } },
})
const [url, ...messages] = positionals
const terminal = messages.length === 0 ? createInterface({ input: process.stdin, output: process.stderr }) : undefined
// From the beginning: lines that are typed before somebody waits for them would be lost.
const lines = terminal?.[Symbol.asyncIterator]()

let streamed = false

function show(event: AgentEvent): void {
  if (values.json) return void process.stdout.write(`${JSON.stringify(event)}\n`)
  if (event.metadata?.['turn_restarted']) process.stdout.write('\n(from the start:)\n')
  switch (event.event) {
    case 'agent.partial_answer':
      streamed = true
      return void process.stdout.write(String(event.content))
    case 'agent.final_answer':
      // An agent that answers all at once says nothing before its final answer.
      process.stdout.write(streamed ? '\n' : `${String(event.content)}\n`)
      streamed = false
      return
    case 'agent.thinking':
    case 'agent.tool_call':
    case 'agent.tool_result':
    case 'system.notice':
      return void process.stdout.write(`(${String(event.content)})\n`)
    case 'agent.error':
    case 'agent.interrupted':
    case 'system.error':
      return void process.stdout.write(`\n! ${String(event.content)}\n`)
  }
}

function showError(error: ClientError): void {
  show({ event: 'agent.error', content: error.message, metadata: { code: error.code } })
}

function keep(session: Session): void {
  if (!values.state) return
  writeFileSync(`${values.state}.new`, JSON.stringify(session.state))
  renameSync(`${values.state}.new`, values.state)
}

/** Shows an answer to its end; whether it was one. */
async function answer(session: Session, events: AsyncIterable<AgentEvent>): Promise<boolean> {
  let last: AgentEvent | undefined
  for await (const event of events) {
    last = event
    show(event)
    keep(session)
    if (event.event === 'agent.user_confirm' && event.step_id) {
      const options = JSON.stringify(event.metadata?.['options'] ?? '')
      await session.respond(event.step_id, (await terminal?.question(`${String(event.content)} ${options} `)) ?? null)
    }
  }
  return last?.event === 'agent.final_answer'
}

/** What the user says: the arguments, or what is typed. */
async function* said(): AsyncGenerator<string> {
  if (!terminal || !lines) return yield* messages
  terminal.setPrompt('> ')
  terminal.prompt()
  for await (const line of { [Symbol.asyncIterator]: () => lines }) {
    if (line.trim()) yield line
    terminal.prompt()
  }
}

async function chat(url: string): Promise<number> {
  const options: Options = {
    onStatus: (status, why) => status === 'reconnecting' && process.stderr.write(` [${why}; coming back] `),
  }
  if (values.resend) options.resend = values.resend as NonNullable<Options['resend']>
  if (values.state && existsSync(values.state)) {
    options.state = JSON.parse(readFileSync(values.state, 'utf8')) as SessionState
  }
  // Browsers and Node 22 have one; before that it is a package.
  if (!globalThis.WebSocket) options.WebSocket = (await import('ws')).WebSocket as SocketConstructor
  const session = await connect(url, options)
  keep(session)
  let well = true
  const onInterrupt = () => (session.answering ? void session.cancel() : process.exit(130))
  process.on('SIGINT', onInterrupt)
  terminal?.on('SIGINT', onInterrupt)
  try {
    if (options.state) await answer(session, session.rest())
    for await (const text of said()) {
      try {
        well = (await answer(session, session.ask(text))) && well
      } catch (error) {
        if (!(error instanceof MessageUnknown)) throw error
        showError(error)
        well = false
      }
    }
  } finally {
    session.close()
    terminal?.close()
    process.off('SIGINT', onInterrupt)
  }
  return well ? 0 : 1
}

if (!url) {
  process.stderr.write('usage: chat.js ws://HOST:PORT/s/SERVICE [--state FILE] [--resend WHEN] [--json] [MESSAGE…]\n')
  process.exitCode = 2
} else {
  try {
    process.exitCode = await chat(url)
  } catch (error) {
    if (!(error instanceof ClientError)) throw error
    showError(error)
    process.exitCode = error instanceof SessionLost ? 3 : 1
  }
}
