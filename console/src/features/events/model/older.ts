import type { Event } from '@/api/schema.gen'

/** One answer of the API: at most so many events after an id, the oldest first. */
export type Ask = (afterId: number, limit: number) => Promise<readonly Event[]>

/** Most events of one answer. */
export const PAGE = 1000

/**
 * Events before `beforeId`, as the API gives none: it only goes forward from an id. Ids grow with gaps, so windows of
 * ids are asked for, each wider than the one before, until something is found or there is nothing left. What is found
 * is whole: nothing between it and `beforeId` is missing.
 */
export async function olderThan(beforeId: number, ask: Ask): Promise<{ events: Event[]; end: boolean }> {
  const [oldest] = await ask(0, 1)
  const first = oldest?.id
  if (first === undefined || first >= beforeId) return { events: [], end: true }
  let to = beforeId
  for (let width = PAGE; ; width *= 4) {
    const from = Math.max(first - 1, to - width - 1)
    const events = await between(from, to, ask)
    if (events.length > 0) return { events, end: from < first }
    to = from + 1
  }
}

/** All events with `after < id < before`. */
async function between(after: number, before: number, ask: Ask): Promise<Event[]> {
  const found: Event[] = []
  for (let last = after; ; ) {
    const items = await ask(last, PAGE)
    found.push(...items.filter(({ id }) => id < before))
    const end = items.at(-1)?.id
    if (end === undefined || end >= before - 1 || items.length < PAGE) return found
    last = end
  }
}
