/** The conversation as a machine: what is known, what happens, and what is to be done about it. Pure. */
import { comesBack, delay } from './closing'
import { fromService } from './incoming'
import { emptyConversation, withItem, type Conversation } from './state'
import { again, GREETING_MS, only, sending, sendUnsent, type Step } from './steps'
import { changeQuestions } from './turns'

export type Input =
  /** Somebody wants a connection now. */
  | { kind: 'connect' }
  /** The wait is over, and a socket is being opened. */
  | { kind: 'opening' }
  | { kind: 'opened' }
  | { kind: 'frame'; text: string }
  /** `chance`: 0 to 1, spreads those who come back. */
  | { kind: 'closed'; code: number; reason: string; chance: number }
  /** No greeting came in the time that one takes. */
  | { kind: 'silence' }
  /** Time passes; each few seconds. */
  | { kind: 'tick' }
  /** Talk without the protocol; and with it again. */
  | { kind: 'raw' }
  | { kind: 'protocol' }
  | { kind: 'say'; text: string }
  | { kind: 'sayAgain'; id: number }
  | { kind: 'respond'; stepId: string; content: string }
  | { kind: 'cancel' }
  /** A new session, and nothing of the old one. */
  | { kind: 'fresh' }
  | { kind: 'takeBack' }

/** The server's heartbeat comes each 30 s. */
const SILENT_MS = 35_000
const PONG_MS = 10_000
/** Who stays connected for so long begins anew with short waits. */
const STABLE_MS = 10_000
/** So many messages may wait behind the one that is answered. */
export const MOST_WAITING = 10

export function reduce(state: Conversation, input: Input, now: number): Step {
  switch (input.kind) {
    case 'connect':
      return connect(state)
    case 'opening':
      return only(state.phase === 'waiting' ? { ...state, phase: 'connecting' } : state)
    case 'opened':
      return opened(state, now)
    case 'frame':
      return fromService({ ...state, heardAt: now, pinged: false }, input.text, now)
    case 'closed':
      return closed(state, input, now)
    case 'silence':
      return only(state.phase === 'greeting' || state.phase === 'starting' ? { ...state, silent: true } : state)
    case 'tick':
      return tick(state, now)
    case 'raw':
      return only({ ...state, raw: true, silent: false, phase: isOpen(state) ? 'raw' : state.phase })
    case 'protocol':
      return connect({ ...emptyConversation(), nextId: state.nextId })
    case 'say':
      return say(state, input.text, now)
    case 'sayAgain':
      return sayAgain(state, input.id, now)
    case 'respond':
      return respond(state, input.stepId, input.content)
    case 'cancel':
      return cancel(state)
    case 'fresh':
      return connect({ ...emptyConversation(), raw: state.raw, nextId: state.nextId })
    case 'takeBack':
      return takeBack(state)
  }
}

const isOpen = ({ phase }: Conversation) => phase === 'greeting' || phase === 'starting' || phase === 'live' || phase === 'raw'

function connect(state: Conversation): Step {
  const next: Conversation = { ...state, phase: 'connecting', silent: false, close: undefined, refusal: undefined, ended: undefined, connectionId: undefined }
  return { state: next, effects: [{ kind: 'connect', afterMs: 0 }] }
}

function opened(state: Conversation, now: number): Step {
  const next = { ...state, heardAt: now, pinged: false, heartbeats: false, refusal: undefined }
  if (state.raw) return only({ ...next, phase: 'raw' })
  return { state: { ...next, phase: 'greeting' }, effects: [{ kind: 'listen', forMs: GREETING_MS }] }
}

function closed(state: Conversation, { code, reason, chance }: { code: number; reason: string; chance: number }, now: number): Step {
  const { phase } = state
  if (phase === 'ended' || phase === 'moved' || phase === 'closed' || phase === 'idle' || phase === 'waiting') return only(state)
  const known = { ...state, close: { code, reason }, cancelling: false }
  const stays = phase === 'raw' || state.silent || state.refusal?.recoverable === false || !comesBack(code)
  if (stays) return only({ ...known, phase: 'closed' })
  const tries = phase === 'live' && now - state.liveSince > STABLE_MS ? 0 : state.tries
  return again({ ...known, tries }, delay(tries, chance, state.refusal?.retryAfterMs), now)
}

function tick(state: Conversation, now: number): Step {
  if (state.phase !== 'live' || !state.heartbeats) return only(state)
  const silence = now - state.heardAt
  // A dead network is silent: the connection is given up, without waiting for its end.
  if (silence > SILENT_MS + PONG_MS) return again({ ...state, close: { code: 1006, reason: '' } }, delay(0, 1), now)
  if (silence <= SILENT_MS || state.pinged) return only(state)
  return { state: { ...state, pinged: true }, effects: [sending({ type: 'ping' })] }
}

export const waitingOf = (state: Conversation) =>
  Math.max(0, state.open.length - 1) + state.items.filter((item) => item.kind === 'user' && item.state === 'unsent').length

/** Whether a message may be said now; one said without a connection is sent as soon as there is one. */
export const maySay = (state: Conversation) =>
  state.phase === 'raw' || (!['ended', 'moved'].includes(state.phase) && waitingOf(state) < MOST_WAITING)

function say(state: Conversation, text: string, now: number): Step {
  if (text.trim() === '' || !maySay(state)) return only(state)
  if (state.phase === 'raw') {
    return { state: withItem(state, { kind: 'raw', at: now, mine: true, text }), effects: [{ kind: 'send', frame: text }] }
  }
  const said = withItem(state, { kind: 'user', at: now, text, state: 'unsent' })
  return state.phase === 'live' ? sendUnsent(said) : only(said)
}

/** A message that did not arrive is said once more, now as the newest. */
function sayAgain(state: Conversation, id: number, now: number): Step {
  const item = state.items.find((one) => one.kind === 'user' && one.id === id)
  if (item?.kind !== 'user' || !maySay(state)) return only(state)
  return say({ ...state, items: state.items.filter((one) => one !== item) }, item.text, now)
}

function respond(state: Conversation, stepId: string, content: string): Step {
  if (state.phase !== 'live') return only(state)
  const next = changeQuestions(state, (id, { state: was }) => (id === stepId && was === 'open' ? { state: 'answered', answer: content } : undefined))
  return { state: next, effects: [sending({ event: 'user.response', session_id: state.sessionId, step_id: stepId, content })] }
}

function cancel(state: Conversation): Step {
  if (state.phase !== 'live') return only(state)
  return { state: { ...state, cancelling: true }, effects: [sending({ event: 'user.cancel', session_id: state.sessionId })] }
}

function takeBack(state: Conversation): Step {
  return state.phase === 'moved' ? connect({ ...state, tries: 0 }) : only(state)
}

