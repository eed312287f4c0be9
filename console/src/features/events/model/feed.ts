import type { Event } from '@/api/schema.gen'
import { EVERY_KIND, isComingOrGoing } from './kinds'

/** What of the events is asked for. All of it is in the address. */
export interface EventFilter {
  /** `instance.error`, or `instance.` for all that begin so; `EVERY_KIND`; empty: those that are noteworthy. */
  kind: string
  service: string
  who: string
  /** Words that all stand in an event. */
  search: string
}

/** Events of several answers in one list, the newest first, each once. */
export function merged(...lists: readonly (readonly Event[])[]): Event[] {
  const byId = new Map(lists.flat().map((event) => [event.id, event]))
  return [...byId.values()].sort((a, b) => b.id - a.id)
}

export function matches(event: Event, filter: EventFilter): boolean {
  return (
    ofKind(event.kind, filter.kind) &&
    (filter.service === '' || event.service === filter.service) &&
    (filter.who === '' || event.who === filter.who) &&
    words(filter.search).every((word) => haystack(event).includes(word))
  )
}

function ofKind(kind: string, wanted: string): boolean {
  if (wanted === EVERY_KIND) return true
  if (wanted === '') return !isComingOrGoing(kind)
  return wanted.endsWith('.') ? kind.startsWith(wanted) : kind === wanted
}

const words = (search: string) => search.toLowerCase().split(/\s+/).filter(Boolean)

function haystack({ kind, service, instance, who, why }: Event): string {
  return [kind, service, instance, who, why].join('\n').toLowerCase()
}

/** Services that the events name and those that there are, by name. */
export function serviceNames(events: readonly Event[], registered: readonly string[]): string[] {
  const named = events.map(({ service }) => service).filter((name) => typeof name === 'string')
  return [...new Set([...named, ...registered])].sort((a, b) => a.localeCompare(b))
}

/** Whoever reads older events must not have them moved by newer ones: those beyond `ceiling` wait. */
export function held(events: readonly Event[], ceiling: number | undefined): { shown: Event[]; waiting: number } {
  const shown = ceiling === undefined ? [...events] : events.filter(({ id }) => id <= ceiling)
  return { shown, waiting: events.length - shown.length }
}

/** The day of an event in the user's zone, for headings between days. */
export function dayOf({ at }: Pick<Event, 'at'>): string {
  const date = new Date(at)
  return `${date.getFullYear()}-${date.getMonth() + 1}-${date.getDate()}`
}
