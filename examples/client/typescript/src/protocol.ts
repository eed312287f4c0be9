/** The decisions of the client, without I/O: how long to wait, which events are new, which message they belong to. */

/** One event, as it came. */
export interface AgentEvent {
  event: string
  session_id?: string
  step_id?: string
  seq?: number
  content?: unknown
  metadata?: Record<string, unknown>
  [other: string]: unknown
}

/** How long to wait before the next try: doubled each time, half of it by chance, never less than was asked for. */
export class Backoff {
  private tries = 0

  constructor(
    private readonly firstMs: number,
    private readonly limitMs: number,
    private readonly chance: () => number = Math.random,
  ) {}

  delay(atLeastMs = 0): number {
    const whole = Math.min(this.limitMs, this.firstMs * 2 ** this.tries)
    this.tries += 1
    return Math.max(whole * (0.5 + 0.5 * this.chance()), atLeastMs)
  }

  reset(): void {
    this.tries = 0
  }
}

/** Which events of a session have come: each once, in order, and none left out unless the server said so. */
export class Sequence {
  private gapTo = 0

  constructor(public last = 0) {}

  /** The first event of a new session. */
  begin(seq: number): void {
    this.last = seq
  }

  /**
   * A connection resumes the session. True: the server knows less than was seen here (it lost its newest writes), and
   * numbers will come a second time for other events.
   */
  restored(serverLast: number): boolean {
    this.gapTo = 0
    const behind = serverLast < this.last
    this.last = Math.min(this.last, serverLast)
    return behind
  }

  /** The server no longer has the events up to this one; it may still send some of them. */
  gap(toSeq: number): void {
    this.gapTo = Math.max(this.gapTo, toSeq)
  }

  /** All that the server had has come. */
  replayed(): void {
    this.last = Math.max(this.last, this.gapTo)
    this.gapTo = 0
  }

  take(seq: number): 'new' | 'seen' | 'gap' {
    if (seq <= this.last) return 'seen'
    if (seq > Math.max(this.last, this.gapTo) + 1) return 'gap'
    this.last = seq
    return 'new'
  }
}

/** A message of the user, from the moment it is sent to the end of its answer. */
export interface Message {
  readonly content: unknown
  /** 1, 2, 3… in the order in which they were sent first. */
  number: number
  sent: number
  /** An event of its answer has come. */
  answering: boolean
}

/** A message that was not sent yet. */
export function message(content: unknown): Message {
  return { content, number: 0, sent: 0, answering: false }
}

/** Which message an event belongs to. The server answers them one by one, in order, each with exactly one end. */
export class Turns {
  /** Sent and not at their end, oldest first. */
  open: Message[] = []
  private count = 0
  /** Something is being answered that was not sent from here. */
  private stray = false
  /** How many the server has at hand, if it said so when the session was resumed, and the session's number then. */
  private busy: number | undefined
  private busyAt = 0

  sent(message: Message): void {
    if (message.number === 0) message.number = this.count += 1
    message.sent += 1
    this.open.push(message)
  }

  /** Numbers of the message that this event belongs to and of the one that ends with it; 0: none. */
  event(event: AgentEvent): { turn: number; ends: number } {
    const end = turnEnd(event)
    const first = this.open[0]
    if (end === 'oldest' && this.busy && (event.seq ?? 0) > this.busyAt) this.busy -= 1
    if (end === 'aside') return { turn: first?.number ?? 0, ends: 0 }
    if (end === 'none') {
      if (first) first.answering = true
      else this.stray = true
      return { turn: first?.number ?? 0, ends: 0 }
    }
    this.stray = false
    const ended = (end === 'oldest' ? this.open.shift() : this.open.pop())?.number ?? 0
    return { turn: ended, ends: ended }
  }

  /**
   * A connection resumes the session. So many messages were at hand when its last event was this one; it goes on while what
   * was missed is on its way.
   */
  restored(lastSeq: number, busy: number | undefined): void {
    this.busy = busy
    this.busyAt = lastSeq
  }

  /**
   * A session was resumed from a stored state, and all that was missed has come. Number of the newest message that is still
   * being answered; 0: none.
   */
  adopt(): number {
    for (let left = this.busy ?? Number(this.stray); left > 0; left -= 1) {
      const adopted = message(undefined)
      this.sent(adopted)
      adopted.answering = true
    }
    this.stray = false
    this.busy = undefined
    return this.count
  }

  /**
   * The session goes on in a new connection, and all that was missed has come. Messages of which nobody knows whether
   * they arrived; `received` is false of those that did not.
   */
  resumed(): { message: Message; received: false | undefined }[] {
    const busy = this.busy
    this.busy = undefined
    const kept = busy === undefined ? this.open.filter((message) => message.answering) : this.open.slice(0, busy)
    const lost = this.open.filter((message) => !kept.includes(message))
    this.open = kept
    return lost.map((message) => ({ message, received: busy === undefined ? undefined : false }))
  }
}

/**
 * What an event of a session says about turns: `oldest` and `newest`: this one of the open messages is at its end; `none`: it
 * belongs to an answer; `aside`: it says nothing.
 */
export function turnEnd(event: AgentEvent): 'oldest' | 'newest' | 'none' | 'aside' {
  switch (event.event) {
    case 'agent.final_answer':
      return 'oldest'
    case 'agent.interrupted':
      return event.metadata?.['reason'] === 'nothing_running' ? 'aside' : 'oldest'
    case 'agent.error': {
      const code = String(event.metadata?.['code'])
      if (['UNKNOWN_STEP', 'EVENT_FAILED', 'NOT_READY'].includes(code)) return 'aside'
      return ['BUSY', 'EMPTY_MESSAGE'].includes(code) ? 'newest' : 'oldest'
    }
    case 'agent.session_created':
    case 'agent.state_exported':
    case 'agent.session_end':
      return 'aside'
    default:
      return 'none'
  }
}

/** The URL by which the front door finds the session's instance. */
export function withSession(url: string, sessionId: string | undefined): string {
  if (sessionId === undefined) return url
  const parts = new URL(url)
  parts.searchParams.set('session_id', sessionId)
  return parts.href
}

/** `retry_after_ms` within reason. */
export function retryAfter(metadata: Record<string, unknown>): number {
  const wanted = metadata['retry_after_ms']
  return typeof wanted === 'number' ? Math.min(Math.max(wanted, 0), 60_000) : 0
}
