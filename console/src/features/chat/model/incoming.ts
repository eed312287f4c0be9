/** What the service says, as the machine hears it. Pure. */
import { delay } from './closing'
import { asText, codeOf, isPong, numberOf, parseFrame, retryAfterMs, type AgentEvent } from './protocol'
import { complete, giveUp, rewind, take } from './sequence'
import { changeUser, withItem, type Conversation, type NoteCode, type NoteItem } from './state'
import { again, begin, only, sendUnsent, type Step } from './steps'
import { applyEvent, changeQuestions, restartTurn, runningOf } from './turns'

export function fromService(state: Conversation, text: string, now: number): Step {
  if (state.phase === 'raw') return only(withItem(state, { kind: 'raw', at: now, mine: false, text }))
  if (isPong(text)) return only(state)
  const event = parseFrame(text)
  if (!event) {
    // Who speaks another language will not greet any more.
    return only({ ...withItem(state, { kind: 'raw', at: now, mine: false, text }), silent: state.silent || state.phase === 'greeting' })
  }
  const [subject] = event.event.split('.', 1)
  if (event.event === 'service_switched' || event.event === 'management_notification') return only(fromManager(state, event, now))
  if (subject === 'system') return fromSystem(state, event, now)
  if (state.phase === 'starting') return startingWith(state, event, now)
  if (event.session_id !== undefined && event.session_id !== state.sessionId) return only(state)
  return fromSession(state, event, now)
}

function note(state: Conversation, event: AgentEvent, now: number, code: NoteCode, tone: NoteItem['tone'], values?: NoteItem['values']): Conversation {
  return withItem(state, { kind: 'note', at: now, code, tone, text: asText(event.content), values })
}

function fromManager(state: Conversation, event: AgentEvent, now: number): Conversation {
  if (event.event === 'service_switched') return note(state, { ...event, content: '' }, now, 'switched', 'info', { instance: asText(event.metadata.to) })
  return note(state, event, now, 'notification', event.metadata.level === 'info' ? 'info' : 'warn')
}

function fromSystem(state: Conversation, event: AgentEvent, now: number): Step {
  switch (event.event) {
    case 'system.connected': {
      const { connection_id: id } = event.metadata
      const next = { ...state, connectionId: typeof id === 'string' ? id : undefined, numbered: event.seq === undefined }
      return state.phase === 'greeting' ? begin(next) : only(next)
    }
    case 'system.heartbeat':
      return only({ ...state, heartbeats: true })
    case 'system.notice':
      return notice(state, event, now)
    case 'system.error':
      return systemError(state, event, now)
    default:
      return only(withItem(state, { kind: 'note', at: now, code: 'event', tone: 'info', text: event.event, json: JSON.stringify(event, null, 2) }))
  }
}

function systemError(state: Conversation, event: AgentEvent, now: number): Step {
  const code = codeOf(event)
  if (code === 'ROUTING_FAILED') {
    const refusal = { text: asText(event.content), recoverable: event.metadata.recoverable !== false, retryAfterMs: retryAfterMs(event) }
    return only({ ...state, refusal })
  }
  // A server without sessions that outlive their connections knows nothing of coming back.
  if (state.phase === 'starting') return end(state, code || 'UNKNOWN_EVENT', asText(event.content))
  return only(note(state, event, now, 'systemError', 'bad', { code }))
}

/** Notices that we have words of our own for. */
const NOTICES: ReadonlyMap<string, NoteCode> = new Map([['state_lost', 'stateLost'], ['events_lost', 'eventsLost']])

function notice(state: Conversation, event: AgentEvent, now: number): Step {
  const code = codeOf(event)
  const known = NOTICES.get(code)
  const from = numberOf(event, 'from_seq') ?? 0
  const to = numberOf(event, 'to_seq') ?? 0
  switch (code) {
    case 'replay':
      return caughtUp(state)
    case 'session_moved':
      return { state: { ...state, phase: 'moved' }, effects: [{ kind: 'close' }] }
    case 'replay_gap':
      return only(note({ ...state, sequence: giveUp(state.sequence, to) }, { ...event, content: '' }, now, 'replayGap', 'warn', { from, to }))
    case 'turn_restarted':
      return only(restartTurn(state, now))
    default:
      return only(known === undefined ? note(state, event, now, 'notice', code === '' ? 'info' : 'warn') : note(state, { ...event, content: '' }, now, known, 'warn', { from, to }))
  }
}

/** The answer to `user.create_session` or `user.reconnect`. */
function startingWith(state: Conversation, event: AgentEvent, now: number): Step {
  switch (event.event) {
    case 'agent.session_created':
      return sendUnsent(live({ ...named(state, event), sessionId: event.session_id, sequence: { last: event.seq ?? 0, missing: [] } }, now))
    case 'agent.state_restored':
      return restored(state, event, now)
    case 'error.recovery_failed':
    case 'agent.error':
      return refusedSession(state, event, now)
    default:
      return only(state)
  }
}

const live = (state: Conversation, now: number): Conversation => ({ ...state, phase: 'live', liveSince: now, refusal: undefined, silent: false })

function named(state: Conversation, event: AgentEvent): Conversation {
  const name = event.metadata.agent_name
  return typeof name === 'string' ? { ...state, agentName: name } : state
}

/** Errors that say that the same session may be had later, or on another connection. */
const LATER = new Set(['SESSION_UNAVAILABLE', 'SESSION_ELSEWHERE', 'TOO_MANY_SESSIONS'])

function refusedSession(state: Conversation, event: AgentEvent, now: number): Step {
  const code = codeOf(event)
  if (!LATER.has(code)) return end(state, code, asText(event.content))
  const refusal = { text: asText(event.content), recoverable: true, retryAfterMs: retryAfterMs(event) }
  return again({ ...state, refusal }, delay(state.tries, 1, refusal.retryAfterMs), now)
}

function end(state: Conversation, code: string, text: string): Step {
  return { state: { ...state, phase: 'ended', ended: { code, text }, cancelling: false }, effects: [{ kind: 'close' }] }
}

function restored(state: Conversation, event: AgentEvent, now: number): Step {
  const running = event.metadata.running === true ? 1 : 0
  const steps = Array.isArray(event.metadata.open_steps) ? event.metadata.open_steps : undefined
  const next: Conversation = {
    ...live(named(state, event), now),
    sessionId: event.session_id ?? state.sessionId,
    sequence: rewind(state.sequence, numberOf(event, 'last_seq') ?? state.sequence.last),
    expected: event.metadata.running === undefined ? undefined : running + (numberOf(event, 'waiting') ?? 0),
  }
  const asked = steps === undefined ? next : changeQuestions(next, (id, { state: was }) => (steps.includes(id) ? { state: 'open' } : was === 'open' ? { state: 'closed' } : undefined))
  return event.metadata.replaying === true ? only(asked) : caughtUp(asked)
}

/** No queue is longer; a service that speaks the protocol by itself may say any number. */
const MOST_STRANGERS = 1_000

/**
 * All that was missed has come. Messages that the server does not have did not arrive; those that it has and that were
 * not sent from here stand first in the queue.
 */
function caughtUp(state: Conversation): Step {
  const { expected, ...known } = state
  const complemented: Conversation = { ...known, sequence: complete(state.sequence) }
  if (expected === undefined) return only(complemented)
  const strangers = Array.from({ length: Math.min(Math.max(0, expected - state.open.length), MOST_STRANGERS) }, () => 0)
  const lost = state.open.slice(expected).filter((id) => id !== 0)
  const settled = lost.reduce((next, id) => changeUser(next, id, { state: 'lost' }), complemented)
  const next = { ...settled, open: [...strangers, ...state.open.slice(0, expected)] }
  return sendUnsent(expected === 0 ? endRunning(next) : next)
}

/** Nothing is being answered: what looks so has had its end in what is no longer kept. */
function endRunning(state: Conversation): Conversation {
  const running = runningOf(state)
  return running ? { ...state, items: state.items.map((item) => (item === running ? { ...running, state: 'done' } : item)) } : state
}

function fromSession(state: Conversation, event: AgentEvent, now: number): Step {
  const taken = state.numbered && event.seq !== undefined ? take(state.sequence, event.seq) : undefined
  if (taken?.seen) return only(state)
  const counted = taken ? { ...state, sequence: taken.sequence } : state
  const gap = taken?.gap
  const told = gap && state.expected === undefined ? note(counted, { ...event, content: '' }, now, 'missing', 'warn', gap) : counted
  switch (event.event) {
    case 'agent.session_created':
      return only(named(told, event))
    case 'agent.session_end':
      return end(told, 'SESSION_ENDED', asText(event.content))
    case 'agent.error':
      return codeOf(event).startsWith('SESSION_') ? sessionError(told, event, now) : only(applyEvent(told, event, now))
    default:
      return only(applyEvent(told, event, now))
  }
}

function sessionError(state: Conversation, event: AgentEvent, now: number): Step {
  if (codeOf(event) === 'SESSION_MOVED') return { state: { ...state, phase: 'moved' }, effects: [{ kind: 'close' }] }
  return refusedSession(state, event, now)
}
