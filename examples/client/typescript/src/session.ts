/** A conversation over as many connections as it takes: does what the decisions in protocol.ts say. */

import { ClientError, ConnectFailed, MessageUnknown, SessionLost } from './errors.js'
import { DEFAULTS } from './options.js'
import type { Options, SessionState, SocketConstructor, SocketLike } from './options.js'
import { Backoff, Sequence, Turns, message, retryAfter, withSession } from './protocol.js'
import type { AgentEvent, Message } from './protocol.js'

/** Sends of one message: one that breaks each connection (too big) must not do so for ever. */
const MAX_SENDS = 3
/** Refusals of a session by a service that is not there; its manager may just have begun. */
const MAX_REFUSALS = 3
/** Fetches of the same missing events. */
const MAX_GAPS = 3
/** Responses kept until the end of the turn. */
const MAX_RESPONSES = 100

/** What waits for the application. Without an event: here ends what was missed. */
interface Item {
  event?: AgentEvent
  /** The session's number after it. */
  last: number
  turn: number
  ends: number
  error?: MessageUnknown
}

/** A connection is of no more use: why, and how long to wait at least. */
class Ended {
  constructor(
    readonly why: string,
    readonly atLeastMs = 0,
  ) {}
}

/** A new session, or with `options.state` the one that was left. */
export async function connect(url: string, options: Options = {}): Promise<Session> {
  const session = new Session(url, options)
  try {
    await session.begun()
  } catch (error) {
    session.close()
    throw error
  }
  return session
}

/** Made by `connect`. */
export class Session {
  id: string | undefined
  agentName: string | undefined
  private readonly options: typeof DEFAULTS & Options
  private readonly Socket: SocketConstructor
  private readonly sequence: Sequence
  private readonly turns = new Turns()
  private readonly backoff: Backoff
  /** What the application has, and what the server knows of it. */
  private seen: number
  private acked: number
  private unackedSince = 0
  /** Resumed, and nothing is known yet of what is going on. */
  private fresh: boolean
  /** What was missed before it was resumed has not been read yet. */
  private missed: boolean
  /** The message that was being answered when it was resumed. */
  private restOf = 0
  /** The message whose end was asked for. */
  private cancelled = 0
  private responses: { at: number; response: AgentEvent }[] = []
  private items: Item[] = []
  private reader: object | undefined
  private socket: SocketLike | undefined
  private phase: 'greeting' | 'replaying' | 'live' = 'greeting'
  /** The agent's open questions, if the server says so. */
  private steps: string[] | undefined
  private hasBegun = false
  private refusals = 0
  private gaps = 0
  private heard = 0
  private pinged = false
  private end: ((reason: Ended | ClientError) => void) | undefined
  private error: ClientError | undefined
  private waiters: (() => void)[] = []

  /** Use `connect`. */
  constructor(
    private readonly url: string,
    options: Options,
  ) {
    this.options = { ...DEFAULTS, ...options }
    const Socket = options.WebSocket ?? (globalThis.WebSocket as SocketConstructor | undefined)
    if (!Socket) throw new TypeError('there is no WebSocket here: give one in options.WebSocket, that of the package ws')
    this.Socket = Socket
    this.id = options.state?.session_id
    this.sequence = new Sequence(options.state?.last_seq ?? 0)
    this.seen = this.acked = this.sequence.last
    this.fresh = this.missed = options.state !== undefined
    this.backoff = new Backoff(this.options.firstDelayMs, this.options.maxDelayMs)
    void this.run()
  }

  // --- For the application ---

  /** All that is needed to come back, as of the last event that was handed out. */
  get state(): SessionState {
    return { session_id: this.id ?? '', last_seq: this.seen }
  }

  /** Whether a connection carries the session just now. */
  get connected(): boolean {
    return this.socket !== undefined && this.phase === 'live'
  }

  /** Whether a message was sent, or found at the server, whose answer is not at its end. */
  get answering(): boolean {
    return this.turns.open.length > 0
  }

  /** Resolves when the session is there. */
  async begun(): Promise<void> {
    await this.until(() => this.hasBegun)
  }

  /**
   * Sends a message and hands out the events of its answer, the last one of which is `agent.final_answer`, `agent.error` or
   * `agent.interrupted`. What is left of an earlier answer is passed over.
   */
  async *ask(content: unknown): AsyncGenerator<AgentEvent, void, void> {
    const { number } = await this.post(content)
    for await (const item of this.read()) {
      if (item.error && item.turn === number) throw item.error
      // An answer to a cancel that crossed the end of its turn is of no answer.
      const crossed = item.turn === 0 && item.event?.event === 'agent.interrupted'
      const earlier = item.turn > 0 && item.turn < number
      if (item.event && !crossed && !earlier) yield item.event
      if (item.ends === number) return
    }
  }

  /** After `connect` with a state: the events that were missed, and the rest of an answer that was going on. */
  async *rest(): AsyncGenerator<AgentEvent, void, void> {
    if (!this.missed && !this.restOf) return
    for await (const item of this.read()) {
      if (item.event) yield item.event
      if (!this.missed && !this.restOf) return
    }
  }

  /**
   * Everything that comes, for ever: until the session is lost, or closed. A message of which nobody knows whether it
   * arrived is an event `client.message_unknown`.
   */
  async *events(): AsyncGenerator<AgentEvent, void, void> {
    for await (const item of this.read()) if (item.event) yield item.event
  }

  /** Sends a message without waiting for its answer; waits for a connection if there is none. */
  async post(content: unknown): Promise<Message> {
    if (content === undefined || content === null || (typeof content === 'string' && content.trim() === '')) {
      throw new TypeError('the message is empty')
    }
    const posted = message(content)
    await this.until(() => this.connected)
    this.sendMessage(posted)
    return posted
  }

  /** Ends the answer that is under way; its `agent.interrupted` comes as an event. */
  async cancel(): Promise<void> {
    const current = this.turns.open[0]
    if (current) {
      this.cancelled = current.number
      // It is sent as soon as there is a connection, if it still makes sense then.
      if (!this.connected) return
    }
    await this.send({ event: 'user.cancel' })
  }

  /** Answers an `agent.user_confirm`. */
  async respond(stepId: string, content: unknown): Promise<void> {
    const response = { event: 'user.response', step_id: stepId, content }
    await this.until(() => this.connected)
    this.responses = [...this.responses, { at: this.sequence.last, response }].slice(-MAX_RESPONSES)
    this.put(response)
  }

  /** Sends any event in the session, once, if the connection lasts so long. */
  async send(event: AgentEvent): Promise<void> {
    await this.until(() => this.connected)
    this.put(event)
  }

  /** Ends the connection. The session stays where it is, to be resumed by its `state`. */
  close(): void {
    this.fail(new SessionLost('CLOSED', 'the session was closed here', this.state))
  }

  // --- Handing out ---

  private async *read(): AsyncGenerator<Item, void, void> {
    const reader = (this.reader = {})
    for (;;) {
      if (this.reader !== reader) throw new Error('the events of a session can be read in one place at a time')
      const item = this.items.shift()
      if (!item) {
        if (this.error?.code === 'CLOSED') return
        if (this.error) throw this.error
        await this.change()
        continue
      }
      if (this.items.length <= this.options.queue / 2) this.changed()
      if (item.last !== this.seen && this.seen === this.acked) this.unackedSince = Date.now()
      this.seen = item.last
      if (!item.event) {
        this.missed = false
        this.restOf = item.turn
      } else if (item.ends === this.restOf) {
        this.restOf = 0
      }
      if (this.seen - this.acked >= this.options.ackEvents) this.acknowledge()
      yield item
    }
  }

  private push(event: AgentEvent | undefined, last: number, turn = 0, ends = 0, error?: MessageUnknown): void {
    this.items.push({ ...(event && { event }), last, turn, ends, ...(error && { error }) })
    this.changed()
    // It can be had again: a browser has no other way to let the server wait.
    if (this.items.length >= this.options.queue) this.end?.(new Ended('the application does not keep up'))
  }

  private changed(): void {
    const waiters = this.waiters
    this.waiters = []
    for (const wake of waiters) wake()
  }

  private change(): Promise<void> {
    return new Promise((resolve) => this.waiters.push(resolve))
  }

  private async until(condition: () => boolean): Promise<void> {
    while (!this.error && !condition()) await this.change()
    if (this.error) throw this.error
  }

  private fail(error: ClientError): void {
    if (this.error) return
    this.error = error
    this.end?.(error)
    this.changed()
    this.options.onStatus?.('closed', error.message)
  }

  // --- Sending ---

  private put(event: AgentEvent): void {
    this.socket?.send(JSON.stringify(this.id === undefined ? event : { ...event, session_id: this.id }))
  }

  private sendMessage(message: Message): void {
    this.turns.sent(message)
    this.put({ event: 'user.message', content: message.content })
  }

  private acknowledge(): void {
    if (!this.connected || this.seen <= this.acked) return
    this.acked = this.seen
    this.put({ event: 'user.ack', content: { last_seq: this.acked } })
  }

  /** What was under way when the last connection broke. */
  private catchUp(): void {
    if (this.fresh) {
      this.fresh = false
      return this.push(undefined, this.sequence.last, this.turns.adopt())
    }
    const allowed = this.options.resend
    for (const { message, received } of this.turns.resumed()) {
      if ((allowed === 'always' || (allowed === 'unreceived' && received === false)) && message.sent < MAX_SENDS) {
        this.sendMessage(message)
        continue
      }
      const error = new MessageUnknown(message.content, received)
      const metadata = { received: received ?? null }
      const event = { event: 'client.message_unknown', content: message.content, metadata }
      this.push(event, this.sequence.last, message.number, message.number, error)
    }
    if (this.turns.open.some((message) => message.number === this.cancelled)) this.put({ event: 'user.cancel' })
    for (const { at, response } of this.responses) {
      // Without the server's word: nothing has happened since, so that it may not have arrived.
      const open = this.steps ? this.steps.includes(String(response.step_id)) : at >= this.sequence.last
      if (open) this.put(response)
    }
  }

  /** Beside each connection: acknowledges, and finds out whether the server is still there. */
  private tick(since: number): void {
    const now = Date.now()
    const { silenceMs, pongMs, connectTimeoutMs, ackMs } = this.options
    if (this.phase !== 'live' && now > since + connectTimeoutMs) {
      this.end?.(new Ended(`no session within ${connectTimeoutMs / 1000} s`))
    } else if (this.phase === 'live' && now > this.heard + silenceMs + pongMs) {
      this.end?.(new Ended('silent'))
    } else if (this.phase === 'live' && now > this.heard + silenceMs && !this.pinged) {
      this.pinged = true
      this.socket?.send('{"type":"ping"}')
    }
    if (now > this.unackedSince + ackMs) this.acknowledge()
  }

  // --- Connections ---

  private async run(): Promise<void> {
    let withoutSince = Date.now()
    const { giveUpAfterMs, connectTimeoutMs, maxDelayMs, queue } = this.options
    // `connect` has returned what it makes before anything can fail.
    await Promise.resolve()
    while (!this.error) {
      const limit = this.hasBegun ? giveUpAfterMs : connectTimeoutMs
      const began = Date.now()
      const reason = await this.attempt(Math.max(100, Math.min(connectTimeoutMs, withoutSince + limit - began)))
      if (reason instanceof ClientError) return this.fail(reason)
      const now = Date.now()
      if (this.phase === 'live') {
        withoutSince = now
        if (now > began + maxDelayMs) this.backoff.reset()
      }
      const delay = this.backoff.delay(reason.atLeastMs)
      if (now + delay > withoutSince + limit) {
        return this.fail(this.lost('UNREACHABLE', `gave up after ${limit / 1000} s: ${reason.why}`))
      }
      this.options.onStatus?.('reconnecting', reason.why)
      let waited = false
      const timer = setTimeout(() => {
        waited = true
        this.changed()
      }, delay)
      while (!this.error && !waited) await this.change()
      clearTimeout(timer)
      while (!this.error && this.items.length > queue / 2) {
        await this.change()
        withoutSince = Date.now()
      }
    }
  }

  private lost(code: string, text: string): ClientError {
    return this.id === undefined ? new ConnectFailed(code, text) : new SessionLost(code, text, this.state)
  }

  /** One connection from its beginning to its end. */
  private attempt(timeoutMs: number): Promise<Ended | ClientError> {
    this.phase = 'greeting'
    this.steps = undefined
    return new Promise((resolve) => {
      let socket: SocketLike
      try {
        socket = new this.Socket(withSession(this.url, this.id))
      } catch (error) {
        return resolve(this.lost('INVALID_URL', String(error)))
      }
      const since = Date.now()
      let timer = setTimeout(() => this.end?.(new Ended('no answer')), timeoutMs)
      this.end = (reason) => {
        // What it still says is not heard; a browser lets a broken connection take its time to close.
        socket.onopen = socket.onmessage = socket.onclose = null
        socket.onerror = () => undefined
        clearTimeout(timer)
        this.socket = this.end = undefined
        if (reason instanceof Ended && socket.terminate) socket.terminate()
        else socket.close()
        resolve(reason)
        this.changed()
      }
      socket.onopen = () => {
        clearTimeout(timer)
        timer = setInterval(() => this.tick(since), this.tickMs()) as typeof timer
        this.socket = socket
        this.heard = Date.now()
        this.pinged = false
        this.acked = this.seen
        const { params } = this.options
        if (this.id === undefined) this.put({ event: 'user.create_session', ...(params !== undefined && { content: params }) })
        else this.put({ event: 'user.reconnect', last_seq: this.sequence.last })
      }
      socket.onmessage = (message: { data: unknown }) => {
        this.heard = Date.now()
        this.pinged = false
        const reason = this.frame(message.data)
        if (reason) this.end?.(reason)
      }
      socket.onerror = (event: { message?: unknown }) => {
        this.end?.(new Ended(`the connection failed ${typeof event.message === 'string' ? event.message : ''}`.trim()))
      }
      socket.onclose = (event: { code: number; reason: string }) => {
        this.end?.(new Ended(`closed with ${event.code} ${event.reason}`.trim()))
      }
    })
  }

  private tickMs(): number {
    const { ackMs, silenceMs, pongMs } = this.options
    return Math.max(10, Math.min(250, ackMs / 2, silenceMs / 4, pongMs / 4))
  }

  // --- Receiving ---

  /** One frame; why the connection is of no more use, if it is not. */
  private frame(data: unknown): Ended | ClientError | undefined {
    let event: AgentEvent
    try {
      event = JSON.parse(String(data)) as AgentEvent
    } catch {
      return undefined
    }
    const name = event?.event
    if (typeof name !== 'string' || name === 'system.connected' || name === 'system.heartbeat') return undefined
    const metadata = event.metadata ?? {}
    const code = metadata['code']
    if (name === 'system.error' && code === 'ROUTING_FAILED') return this.routingFailed(event, metadata)
    if (this.phase === 'greeting') return this.greeted(event, metadata)
    if (event.session_id !== undefined && event.session_id !== this.id) return undefined
    if (typeof event.seq === 'number') return this.numbered(event, event.seq)
    if (name === 'system.notice' && code === 'replay') {
      this.sequence.replayed()
      if (this.phase === 'replaying') this.live()
      return undefined
    }
    if (name === 'system.notice' && code === 'replay_gap') this.sequence.gap(Number(metadata['to_seq']) || 0)
    if (name === 'agent.error' && ['SESSION_NOT_FOUND', 'SESSION_LOST', 'SESSION_UNAVAILABLE'].includes(String(code))) {
      return notNow(String(event.content), metadata) ?? this.lost(String(code), String(event.content))
    }
    this.push(event, this.sequence.last)
    if (name === 'system.notice' && code === 'session_moved') {
      return this.lost('SESSION_MOVED', 'the session goes on in another client')
    }
    return undefined
  }

  private routingFailed(event: AgentEvent, metadata: Record<string, unknown>): Ended | ClientError {
    this.refusals += 1
    const text = String(event.content)
    const isFinal = !this.hasBegun || this.refusals >= MAX_REFUSALS
    if (!metadata['recoverable'] && isFinal) return this.lost('ROUTING_FAILED', text)
    return new Ended(text, retryAfter(metadata))
  }

  private greeted(event: AgentEvent, metadata: Record<string, unknown>): Ended | ClientError | undefined {
    const text = String(event.content)
    const code = String(metadata['code'] ?? event.event)
    const isError = event.event === 'agent.error' || event.event === 'system.error'
    if (this.id === undefined) {
      if (event.event === 'agent.session_created') {
        this.id = event.session_id
        this.agentName = metadata['agent_name'] === undefined ? undefined : String(metadata['agent_name'])
        this.sequence.begin(event.seq ?? 0)
        this.seen = this.acked = this.sequence.last
        this.cameOn()
        this.live()
      }
      return isError ? notNow(text, metadata) ?? new ConnectFailed(code, text) : undefined
    }
    if (event.event === 'agent.state_restored') {
      this.phase = 'replaying'
      const { running, waiting } = metadata
      const busy = running === undefined ? undefined : Number(Boolean(running)) + (Number(waiting) || 0)
      if (Array.isArray(metadata['open_steps'])) this.steps = metadata['open_steps'].map(String)
      const behind = this.sequence.last
      const last = Number(metadata['last_seq'] ?? behind)
      this.turns.restored(last, busy)
      if (this.sequence.restored(last)) {
        const lost = { code: 'rewound', from_seq: this.sequence.last + 1, to_seq: behind }
        const content = 'the server has lost what it said last'
        this.push({ event: 'system.notice', content, metadata: lost }, this.sequence.last)
      }
      // Not at the end of the replay: it may be longer than what may wait here for who waits for us.
      this.hasBegun = true
      this.changed()
      return undefined
    }
    const isLost = isError || event.event === 'error.recovery_failed'
    return isLost ? notNow(text, metadata) ?? this.lost(code, text) : undefined
  }

  private live(): void {
    this.phase = 'live'
    this.catchUp()
    this.hasBegun = true
    this.changed()
    this.options.onStatus?.('connected', '')
  }

  private numbered(event: AgentEvent, seq: number): Ended | ClientError | undefined {
    const before = this.sequence.last
    const verdict = this.sequence.take(seq)
    if (verdict === 'seen') return undefined
    if (verdict === 'gap') {
      this.gaps += 1
      if (this.gaps < MAX_GAPS) return new Ended(`event ${seq} came after ${before}`)
      // The server has not got them either, and does not say so.
      const missing = { code: 'replay_gap', from_seq: before + 1, to_seq: seq - 1 }
      this.sequence.gap(seq - 1)
      this.sequence.take(seq)
      this.push({ event: 'system.notice', content: 'these events did not come', metadata: missing }, before)
    }
    this.cameOn()
    const { turn, ends } = this.turns.event(event)
    if (ends > 0) {
      this.responses = []
      if (ends === this.cancelled) this.cancelled = 0
    }
    this.push(event, seq, turn, ends)
    return event.event === 'agent.session_end' ? this.lost('SESSION_ENDED', String(event.content)) : undefined
  }

  /** There is progress: what went wrong before is over. */
  private cameOn(): void {
    this.backoff.reset()
    this.refusals = this.gaps = 0
  }
}

/** To be tried again later, if that is what the server says. */
function notNow(text: string, metadata: Record<string, unknown>): Ended | undefined {
  if (!metadata['recoverable'] || !('retry_after_ms' in metadata)) return undefined
  return new Ended(text, retryAfter(metadata))
}
