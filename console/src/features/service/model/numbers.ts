/** The numbers of a service that one looks for first, as cards. Pure. */
import type { ServiceView, StatsAnswer } from '@/api/schema.gen'
import type { Tone } from '@/ui/StatusTag.vue'
import type { Tab } from './page'

type Form = 'count' | 'decimal' | 'percent' | 'mib' | 'seconds' | 'cores'

export interface Card {
  /** Key of its text. */
  key: 'connections' | 'messages' | 'sessions' | 'firstResponse' | 'errors' | 'cpu' | 'memory' | 'restarts'
  /** Nothing: not known. */
  value: number | undefined
  form: Form
  hint?: { key: 'peak' | 'lastMinute' | 'ever' | 'turns'; parts: Record<string, number>; form: Form }
  tone?: Tone
  /** The part of the page that says more. */
  tab?: Tab
}

/** More than this share of failed answers is worth a look. */
const MANY_ERRORS = 0.05

export function numbersOf(stats: StatsAnswer, service: Pick<ServiceView, 'source'>): Card[] {
  const cards: Card[] = [
    {
      key: 'connections', value: stats.active_connections, form: 'count', tab: 'connections',
      hint: stats.peak ? { key: 'peak', parts: { n: stats.peak.connections }, form: 'count' } : undefined,
    },
    {
      key: 'messages', value: stats.messages_in + stats.messages_out, form: 'count',
      hint: { key: 'lastMinute', parts: { received: stats.recent.messages_in, sent: stats.recent.messages_out }, form: 'count' },
    },
  ]
  if (service.source.kind === 'file') {
    const turns = stats.session_totals?.turns
    const rate = stats.turn_error_rate ?? undefined
    cards.push(
      { key: 'sessions', value: stats.active_sessions, form: 'count', hint: { key: 'ever', parts: { n: stats.sessions }, form: 'count' } },
      { key: 'firstResponse', value: stats.average_first_response_seconds ?? undefined, form: 'seconds' },
      {
        key: 'errors', value: rate, form: 'percent', tone: rate !== undefined && rate > MANY_ERRORS ? 'bad' : undefined,
        hint: turns ? { key: 'turns', parts: { failed: turns.failed, all: turns.completed + turns.failed }, form: 'count' } : undefined,
      },
    )
  }
  if (service.source.kind !== 'external') {
    cards.push(
      { key: 'cpu', value: stats.cpu_percent, form: 'cores', tab: 'instances' },
      { key: 'memory', value: stats.memory_mb, form: 'mib', tab: 'instances' },
    )
  }
  cards.push({ key: 'restarts', value: stats.restarts, form: 'count', tone: stats.restarts > 0 ? 'warn' : undefined, tab: 'events' })
  return cards
}
