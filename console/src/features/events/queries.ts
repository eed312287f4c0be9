import { keepPreviousData, useQuery } from '@tanstack/vue-query'
import { computed, onScopeDispose, ref, shallowRef, toValue, watch, type MaybeRefOrGetter } from 'vue'
import { api, ask } from '@/api/client'
import { useLive } from '@/api/live'
import { keys } from '@/api/queries'
import type { Event } from '@/api/schema.gen'
import { matches, merged, type EventFilter } from './model/feed'
import { kindsAsked, NOTEWORTHY } from './model/kinds'
import { olderThan } from './model/older'

/** How many events are asked for at first. */
const NEWEST = 200
/** Most live events that are kept beside those that were asked for. */
const MOST_LIVE = 2_000

interface Query {
  kind?: string
  service?: string
  after_id?: number
  limit: number
}

/** The oldest first. What would be a text is the stream, which is not asked for. */
async function eventsOf(query: Query): Promise<Event[]> {
  const page = await ask(api.GET('/api/v1/events', { params: { query } }))
  return typeof page === 'string' ? [] : page.items
}

/** The newest events of the fleet without the coming and going of clients, the newest first. */
export function useRecentEvents(limit: number) {
  return useQuery({
    queryKey: [keys.events, 'recent', limit],
    queryFn: async () => (await eventsOf({ kind: NOTEWORTHY, limit })).toReversed(),
  })
}

/** What of a filter the API understands; who and what is searched for is found among what it gave. */
const asked = ({ kind, service }: EventFilter, known: boolean) => ({
  kind: kindsAsked(kind),
  service: known ? service : undefined,
})

/**
 * Events that match `filter`, the newest first: those that the API gave, those that come, and older ones on demand.
 * The API knows events of services that are no more, but not their names: then all are asked for.
 */
export function useEventFeed(filter: MaybeRefOrGetter<EventFilter>, registered: MaybeRefOrGetter<readonly string[]>) {
  const query = computed(() => asked(toValue(filter), toValue(registered).includes(toValue(filter).service)))
  const newest = useQuery({
    // New events come by themselves; they are no reason to ask for all again.
    queryKey: computed(() => [keys.feed, query.value]),
    queryFn: () => eventsOf({ ...query.value, limit: NEWEST }),
    placeholderData: keepPreviousData,
  })

  const came = shallowRef<Event[]>([])
  onScopeDispose(useLive().onEvent((event) => (came.value = [event, ...came.value].slice(0, MOST_LIVE))))

  const older = shallowRef<Event[]>([])
  const atEnd = ref(false)
  watch(query, () => ([older.value, atEnd.value] = [[], false]))

  const loaded = computed(() => merged(newest.data.value ?? [], came.value, older.value))
  const events = computed(() => loaded.value.filter((event) => matches(event, toValue(filter))))
  /** Fewer than were asked for: there are no others. */
  const complete = computed(() => atEnd.value || (newest.data.value !== undefined && newest.data.value.length < NEWEST))

  async function loadOlder() {
    const from = merged(newest.data.value ?? [], older.value).at(-1)?.id
    if (from === undefined) return
    const wanted = query.value
    const found = await olderThan(from, (after_id, limit) => eventsOf({ ...wanted, after_id, limit }))
    if (wanted !== query.value) return
    older.value = merged(older.value, found.events)
    atEnd.value = found.end
  }

  return { newest, loaded, events, complete, loadOlder }
}
