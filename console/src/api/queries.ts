import { QueryCache, QueryClient, type QueryKey } from '@tanstack/vue-query'
import { watch } from 'vue'
import { useLive } from './live'
import { ApiProblem } from './problem'
import type { Event } from './schema.gen'

/**
 * The first part of the key of every query: what it is about. Events say what of it has changed.
 * A key goes on with what is asked, as `[keys.services, 'list']` or `[keys.services, name, 'health']`.
 */
export const keys = {
  services: 'services',
  connections: 'connections',
  rules: 'rules',
  events: 'events',
  /** Lists of events that add new ones by themselves. */
  feed: 'feed',
  stats: 'stats',
  /** Statistics over time: measured each ten seconds, and no event tells of them. */
  series: 'series',
  info: 'info',
} as const

export const queryClient = new QueryClient({
  queryCache: new QueryCache({
    onSuccess: () => useLive().hear(),
  }),
  defaultOptions: {
    queries: {
      // Events tell what has changed; until then it is as it was.
      staleTime: 10_000,
      // What the server said is replaced, never changed: watching each field of thousands of rows would cost hundreds of MiB.
      shallow: true,
      // Once more, in case that one connection was dead; whether the line is, is looked at meanwhile.
      retry: (count, error) => isUnreachable(error) && count < 1,
      refetchOnWindowFocus: true,
    },
  },
})

function isUnreachable(error: unknown): boolean {
  const unreachable = error instanceof ApiProblem && error.status === 0
  if (unreachable) void useLive().suspect()
  return unreachable
}

/** What an event has changed. */
export function changedBy(event: Pick<Event, 'kind'>): QueryKey[] {
  const subject = event.kind.split('.')[0]
  const both = [[keys.events], [keys.stats]]
  switch (subject) {
    case 'service':
    case 'instance':
    case 'session':
    case 'health':
      return [[keys.services], ...both]
    case 'connection':
      return [[keys.connections], ...both]
    case 'rule':
      return [[keys.rules], ...both]
    default:
      return [[keys.info], ...both]
  }
}

/** Events of so long are one refetch: a fleet that starts has thousands. */
const TOGETHER_MS = 400
/** How often everything is asked for while there is no stream. */
const POLL_MS = 3_000

/** Has queries follow the events. Call once. */
export function followEvents() {
  const live = useLive()
  const changed = new Map<string, QueryKey>()
  let timer = 0

  function flush() {
    timer = 0
    const due = [...changed.values()]
    changed.clear()
    due.forEach((queryKey) => void queryClient.invalidateQueries({ queryKey }, { cancelRefetch: false }))
  }

  live.onEvent((event) => {
    changedBy(event).forEach((key) => changed.set(key.join(), key))
    if (timer === 0) timer = window.setTimeout(flush, TOGETHER_MS)
  })
  // After a gap anything may have changed.
  watch(
    () => live.opened,
    () => void queryClient.invalidateQueries(),
  )
  window.setInterval(() => {
    if (live.state === 'polling') void queryClient.invalidateQueries()
  }, POLL_MS)
}
