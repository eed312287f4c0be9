/** What a conversation is made of. All of it is plain data, so that a reload of the page can keep it. */
import { noEvents, type Sequence } from './sequence'

export type Phase =
  /** Nobody has asked for a connection. */
  | 'idle'
  | 'connecting'
  /** Open; the service has said nothing. */
  | 'greeting'
  /** A session is asked for, new or old. */
  | 'starting'
  | 'live'
  /** The next try is at `retryAt`. */
  | 'waiting'
  /** Until somebody connects again. */
  | 'closed'
  /** The session is over; only a new one helps. */
  | 'ended'
  /** Another client has taken the session. */
  | 'moved'
  /** Open, and spoken to without the protocol. */
  | 'raw'

export type Part =
  | { kind: 'text'; text: string }
  | { kind: 'thinking'; text: string }
  | { kind: 'tool'; stepId?: string; tool: string; args: unknown; text: string; status: string; result?: string; error?: string; at: number; endedAt?: number }
  | { kind: 'question'; stepId: string; text: string; options: string[]; state: 'open' | 'answered' | 'closed'; answer?: string }
  | { kind: 'error'; code: string; text: string; recoverable: boolean }
  | { kind: 'restarted' }
  | { kind: 'other'; event: string; text: string; json: string }

export interface UserItem {
  kind: 'user'
  id: number
  at: number
  text: string
  /** `lost`: it did not arrive; `refused`: it was not taken. */
  state: 'unsent' | 'sent' | 'lost' | 'refused'
  why?: string
}

export interface AnswerItem {
  kind: 'answer'
  id: number
  at: number
  /** Since when somebody waits for it. */
  since: number
  parts: readonly Part[]
  state: 'running' | 'done' | 'failed' | 'cancelled'
  endedAt?: number
}

/** Something that belongs to no answer; its words are those of `code`, its details come from the server. */
export interface NoteItem {
  kind: 'note'
  id: number
  at: number
  code: NoteCode
  tone: 'info' | 'warn' | 'bad'
  text?: string
  values?: Record<string, string | number>
  json?: string
}

export type NoteCode =
  | 'missing'
  | 'replayGap'
  | 'eventsLost'
  | 'stateLost'
  | 'switched'
  | 'notification'
  | 'notice'
  | 'systemError'
  | 'agentError'
  | 'event'

export interface RawItem {
  kind: 'raw'
  id: number
  at: number
  mine: boolean
  text: string
}

export type Item = UserItem | AnswerItem | NoteItem | RawItem

export interface Conversation {
  phase: Phase
  /** When the next try is; of `waiting`. */
  retryAt: number
  tries: number
  liveSince: number
  /** How the last connection ended. */
  close?: { code: number; reason: string }
  /** The front door said that nobody can take us. */
  refusal?: { text: string; recoverable: boolean; retryAfterMs: number }
  /** Why the session is over. */
  ended?: { code: string; text: string }
  /** Nothing of the protocol came in the time that a greeting takes. */
  silent: boolean
  /** Somebody chose to talk without the protocol. */
  raw: boolean
  sessionId?: string
  agentName?: string
  connectionId?: string
  /** Numbers are the session's own; older servers count by connection, where they say nothing of what was missed. */
  numbered: boolean
  sequence: Sequence
  items: readonly Item[]
  /** Messages that were sent and have no end yet, the oldest first; 0: one that was not sent from here. */
  open: readonly number[]
  /** What the server had at hand when the session was resumed, until all that was missed has come. */
  expected?: number
  cancelling: boolean
  /** The server sends heartbeats, so that its silence means something. */
  heartbeats: boolean
  heardAt: number
  pinged: boolean
  nextId: number
}

export function emptyConversation(sessionId?: string): Conversation {
  return {
    phase: 'idle',
    retryAt: 0,
    tries: 0,
    liveSince: 0,
    silent: false,
    raw: false,
    sessionId,
    numbered: true,
    sequence: noEvents,
    items: [],
    open: [],
    cancelling: false,
    heartbeats: false,
    heardAt: 0,
    pinged: false,
    nextId: 1,
  }
}

/** So much is shown; older things leave. */
const MOST_ITEMS = 1_000

type Draft = Item extends infer T ? (T extends Item ? Omit<T, 'id'> : never) : never

/** With one more item, at the end or after the item with the id `after`. */
export function withItem(state: Conversation, item: Draft, after?: number): Conversation {
  const made = { ...item, id: state.nextId } as Item
  const index = after === undefined ? -1 : state.items.findIndex(({ id }) => id === after)
  const items = index < 0 ? [...state.items, made] : state.items.toSpliced(index + 1, 0, made)
  return { ...state, items: items.slice(-MOST_ITEMS), nextId: state.nextId + 1 }
}

export function changeUser(state: Conversation, id: number, change: Partial<UserItem>): Conversation {
  return { ...state, items: state.items.map((item) => (item.kind === 'user' && item.id === id ? { ...item, ...change } : item)) }
}
