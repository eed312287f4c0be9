// A command agent: any program that opens a WebSocket server on $PORT. This one is Node without any package.
//
//     myagent-manager register counter -- node agents/counter_server.mjs
//     myagent-manager start counter
//
// It counts: to the number in the message, one partial answer for each, then the final answer. It speaks the same event
// protocol as an agent file, as far as it needs it: sessions, streaming, cancel, errors. The manager passes its frames on
// untouched, so a program of yours may speak anything else.

import { createHash, randomUUID } from 'node:crypto'
import { createServer } from 'node:http'

const MAX_MESSAGE = 1024 * 1024
const MAX_COUNT = 1000

// --- WebSocket (RFC 6455), as much as a server needs ---------------------------------------------------------------

function frame(opcode, payload) {
  const short = payload.length < 126 ? payload.length : payload.length < 65536 ? 126 : 127
  const head = Buffer.alloc(short === 126 ? 4 : short === 127 ? 10 : 2)
  head[0] = 0x80 | opcode
  head[1] = short
  if (short === 126) head.writeUInt16BE(payload.length, 2)
  if (short === 127) head.writeBigUInt64BE(BigInt(payload.length), 2)
  return Buffer.concat([head, payload])
}

/** The first frame in a buffer: what it is, and how long it is; nothing while it is not complete. */
function parse(buffer) {
  if (buffer.length < 2) return undefined
  let length = buffer[1] & 0x7f
  let at = 2
  if (length === 126) {
    if (buffer.length < 4) return undefined
    length = buffer.readUInt16BE(2)
    at = 4
  } else if (length === 127) {
    if (buffer.length < 10) return undefined
    length = Number(buffer.readBigUInt64BE(2))
    at = 10
  }
  if (!(buffer[1] & 0x80)) return { error: 1002 }
  if (length > MAX_MESSAGE) return { error: 1009 }
  if (buffer.length < at + 4 + length) return undefined
  const mask = buffer.subarray(at, at + 4)
  const payload = Buffer.from(buffer.subarray(at + 4, at + 4 + length))
  for (let i = 0; i < length; i++) payload[i] ^= mask[i & 3]
  return { fin: (buffer[0] & 0x80) !== 0, opcode: buffer[0] & 0x0f, payload, size: at + 4 + length }
}

function serve(socket, first) {
  let buffer = first
  let message = []
  const close = (code) => {
    const payload = Buffer.alloc(2)
    payload.writeUInt16BE(code)
    socket.end(frame(8, payload))
  }
  const client = new Client((text) => socket.writable && socket.write(frame(1, Buffer.from(text))))
  const read = () => {
    for (let next = parse(buffer); next; next = parse(buffer)) {
      if (next.error) return close(next.error)
      buffer = buffer.subarray(next.size)
      if (next.opcode === 8) return close(next.payload.length >= 2 ? next.payload.readUInt16BE() : 1000)
      if (next.opcode === 9) socket.write(frame(10, next.payload))
      if (next.opcode > 2) continue
      message.push(next.payload)
      if (message.reduce((sum, part) => sum + part.length, 0) > MAX_MESSAGE) return close(1009)
      if (!next.fin) continue
      const text = Buffer.concat(message).toString()
      message = []
      client.receive(text)
    }
  }
  socket.setNoDelay(true)
  socket.on('data', (data) => {
    buffer = Buffer.concat([buffer, data])
    read()
  })
  socket.on('error', () => socket.destroy())
  // Node leaves our side open when a client goes away without a close frame.
  socket.on('end', () => socket.end())
  socket.on('close', () => client.end())
  read()
}

// --- The event protocol ----------------------------------------------------------------------------------------------

class Client {
  constructor(send) {
    this.id = randomUUID()
    this.send = send
    this.sessions = new Map()
    this.tell('system.connected', 'Connected to the counter', { connection_id: this.id })
  }

  tell(event, content, metadata = {}, session) {
    const message = { event, timestamp: new Date().toISOString(), connection_id: this.id, content, metadata }
    if (session) {
      session.seq += 1
      Object.assign(message, { session_id: session.id, seq: session.seq, event_id: `${session.id}-${session.seq}` })
    }
    this.send(JSON.stringify(message))
  }

  receive(text) {
    let message
    try {
      message = JSON.parse(text)
    } catch {
      return this.tell('system.error', 'not JSON', { code: 'MALFORMED' })
    }
    if (message?.type === 'ping') return this.send('{"type":"pong"}')
    const session = this.sessions.get(message?.session_id)
    switch (message?.event) {
      case 'user.create_session': {
        const created = { id: randomUUID(), seq: 0, turn: undefined }
        this.sessions.set(created.id, created)
        return this.tell('agent.session_created', 'session created', { agent_name: 'counter' }, created)
      }
      case 'user.message':
        if (!session) return this.tell('agent.error', 'session not found', { code: 'SESSION_NOT_FOUND' })
        return this.answer(session, message.content)
      case 'user.cancel':
        if (!session) return this.tell('agent.error', 'session not found', { code: 'SESSION_NOT_FOUND' })
        clearTimeout(session.turn)
        session.turn = undefined
        return this.tell('agent.interrupted', 'interrupted by the client', {}, session)
      case 'user.ack':
        return undefined
      default:
        return this.tell('system.error', `unknown event ${message?.event}`, { code: 'UNKNOWN_EVENT' })
    }
  }

  answer(session, content) {
    if (typeof content !== 'string' || content.trim() === '') {
      return this.tell('agent.error', 'the message is empty', { code: 'EMPTY_MESSAGE' }, session)
    }
    if (session.turn) return this.tell('agent.error', 'busy', { code: 'BUSY', recoverable: true }, session)
    const last = Math.min(Math.max(Number.parseInt(content, 10) || 3, 3), MAX_COUNT)
    let whole = ''
    const count = (number) => {
      const piece = number === 1 ? '1' : `, ${number}`
      whole += piece
      this.tell('agent.partial_answer', piece, { is_streaming: true, is_final: false, total_length: whole.length }, session)
      session.turn = setTimeout(() => {
        if (number < last) return count(number + 1)
        session.turn = undefined
        return this.tell('agent.final_answer', whole, { is_final: true }, session)
      }, 20)
    }
    return count(1)
  }

  end() {
    for (const session of this.sessions.values()) clearTimeout(session.turn)
  }
}

// --- The server ------------------------------------------------------------------------------------------------------

const server = createServer((_request, response) => {
  response.writeHead(426, { 'Content-Type': 'text/plain', Upgrade: 'websocket' }).end('This is a WebSocket endpoint.\n')
})

server.on('upgrade', (request, socket, first) => {
  const accept = createHash('sha1')
    .update(`${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
    .digest('base64')
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
  )
  serve(socket, first)
})

const host = process.env.HOST ?? '127.0.0.1'
server.listen(Number(process.env.PORT ?? 8090), host, () => console.log(`counting on ws://${host}:${server.address().port}`))
process.on('SIGTERM', () => process.exit(0))
