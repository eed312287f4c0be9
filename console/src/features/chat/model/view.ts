/** How a conversation is told to whoever looks at it. Pure. */
import type { Tone } from '@/ui/StatusTag.vue'
import { closeWord, type CloseWord } from './closing'
import type { Conversation, Item, Phase, UserItem } from './state'

export const phaseTones: Record<Phase, Tone> = {
  idle: 'idle',
  connecting: 'busy',
  greeting: 'busy',
  starting: 'busy',
  live: 'good',
  waiting: 'warn',
  closed: 'bad',
  ended: 'idle',
  moved: 'warn',
  raw: 'good',
}

/** Seconds until the next try, as somebody counts them down. */
export const secondsLeft = (state: Conversation, now: number) => Math.max(1, Math.ceil((state.retryAt - now) / 1000))

export type Action = 'connect' | 'fresh' | 'takeBack' | 'raw' | 'start'

export interface Banner {
  kind: 'silent' | 'refused' | 'closed' | 'unreachable' | 'ended' | 'moved'
  tone: 'warn' | 'bad'
  word?: CloseWord
  code?: number | string
  /** What the other side said about it. */
  reason: string
  actions: Action[]
}

/** Tries without success after which it is worth telling what may be wrong. */
const TELLING_TRIES = 4

/** What is to be said about the connection, and what can be done; none while all is well. */
export function bannerOf(state: Conversation, startable: boolean): Banner | undefined {
  const { phase, close, refusal, ended } = state
  if (phase === 'moved') return { kind: 'moved', tone: 'warn', reason: '', actions: ['takeBack', 'fresh'] }
  if (phase === 'ended') return { kind: 'ended', tone: 'warn', code: ended?.code, reason: ended?.text ?? '', actions: ['fresh'] }
  if (refusal && (phase === 'closed' || phase === 'waiting')) {
    const tone = refusal.recoverable ? 'warn' : 'bad'
    return { kind: 'refused', tone, reason: refusal.text, actions: startable ? ['start'] : ['connect'] }
  }
  if (phase === 'closed' && close) {
    return { kind: 'closed', tone: 'bad', word: closeWord(close.code), code: close.code, reason: close.reason, actions: state.silent ? ['raw', 'connect'] : ['connect'] }
  }
  if (phase === 'waiting' && close) {
    if (close.code === 1006 && state.tries >= TELLING_TRIES) return { kind: 'unreachable', tone: 'warn', code: close.code, reason: '', actions: ['connect'] }
    return { kind: 'closed', tone: 'warn', word: closeWord(close.code), code: close.code, reason: close.reason, actions: ['connect'] }
  }
  if (state.silent) return { kind: 'silent', tone: 'warn', reason: '', actions: ['raw'] }
  return undefined
}

export type Delivery = UserItem['state'] | 'queued'

/** How far a message is: it waits if others are answered before it. */
export function deliveryOf(state: Conversation, item: UserItem): Delivery {
  return item.state === 'sent' && state.open.indexOf(item.id) > 0 ? 'queued' : item.state
}

/** An answer is awaited of which nothing has come yet. */
export const isThinking = (state: Conversation) =>
  state.phase === 'live' && state.open.length > 0 && !state.items.some((item) => item.kind === 'answer' && item.state === 'running')

/** Whether something is being answered. */
export const isBusy = (state: Conversation) =>
  state.open.length > 0 || state.items.some((item) => item.kind === 'answer' && item.state === 'running')

/** Something was said; until then there is an invitation. */
export const hasTalk = (items: readonly Item[]) => items.some((item) => item.kind !== 'note')

/** What was asked before an answer; none if that was not said from here. */
export function messageOf(state: Conversation, answer: number): string | undefined {
  const index = state.items.findIndex(({ id }) => id === answer)
  const before = state.items[index - 1]
  return before?.kind === 'user' ? before.text : undefined
}

/** The text of an answer without its steps, for whoever copies it. */
export function answerText(item: Extract<Item, { kind: 'answer' }>): string {
  return item.parts.map((part) => (part.kind === 'text' ? part.text : '')).join('')
}
