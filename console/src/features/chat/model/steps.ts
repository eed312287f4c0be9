/** What a step of the machine is, and the steps that more than one thing leads to. Pure. */
import { resumeAfter } from './sequence'
import { changeUser, type Conversation } from './state'

export type Effect =
  | { kind: 'send'; frame: string }
  /** Connects after so long; whatever connection there is ends. */
  | { kind: 'connect'; afterMs: number }
  | { kind: 'close' }
  /** Says `silence` after so long. */
  | { kind: 'listen'; forMs: number }

export interface Step {
  state: Conversation
  effects: Effect[]
}

/** A greeting comes at once, or not at all. */
export const GREETING_MS = 2_000

export const only = (state: Conversation): Step => ({ state, effects: [] })

export const sending = (frame: unknown): Effect => ({ kind: 'send', frame: JSON.stringify(frame) })

/** The next try is after `afterMs`. */
export function again(state: Conversation, afterMs: number, now: number): Step {
  return {
    state: { ...state, phase: 'waiting', retryAt: now + afterMs, tries: state.tries + 1 },
    effects: [{ kind: 'connect', afterMs }],
  }
}

/** What begins or resumes the session, once the service has greeted. */
export function begin(state: Conversation): Step {
  const { sessionId } = state
  const frame =
    sessionId === undefined
      ? { event: 'user.create_session' }
      : { event: 'user.reconnect', session_id: sessionId, last_seq: resumeAfter(state.sequence) }
  return { state: { ...state, phase: 'starting', silent: false }, effects: [sending(frame), { kind: 'listen', forMs: 10 * GREETING_MS }] }
}

/** Sends what was said without a connection, in order. */
export function sendUnsent(state: Conversation): Step {
  const unsent = state.items.filter((item) => item.kind === 'user').filter((item) => item.state === 'unsent')
  const sent = unsent.reduce((next, { id }) => changeUser(next, id, { state: 'sent' }), state)
  return {
    state: { ...sent, open: [...state.open, ...unsent.map(({ id }) => id)] },
    effects: unsent.map(({ text }) => sending({ event: 'user.message', session_id: state.sessionId, content: text })),
  }
}
