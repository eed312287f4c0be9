import { useQuery } from '@tanstack/vue-query'
import { computed, toValue, type MaybeRefOrGetter } from 'vue'
import { api, ask } from '@/api/client'
import { ApiProblem, asProblem } from '@/api/problem'
import { keys } from '@/api/queries'
import type { ConnectionView } from '@/api/schema.gen'
import type { Outcome } from './model/bulk'
import { refreshMs } from './model/list'
import { MOST_LINES, type OverTime } from './model/series'

/** Most connections of one page of the API. */
const PAGE = 1000

/** All open connections, page by page; none is left out or twice while others open and close. */
async function allConnections(signal: AbortSignal): Promise<readonly ConnectionView[]> {
  const found: ConnectionView[] = []
  let after: string | undefined
  for (;;) {
    const page = await ask(api.GET('/api/v1/connections', { params: { query: { limit: PAGE, after } }, signal }))
    found.push(...page.items)
    const last = page.items.at(-1)
    if (!page.has_more || !last) return found
    after = last.connection_id
  }
}

const pause = (ms: number) => new Promise((resolve) => window.setTimeout(resolve, ms))

let askedAt = -Infinity
let known = 0

export function useConnections() {
  return useQuery({
    queryKey: [keys.connections, 'all'],
    queryFn: async ({ signal }) => {
      // Connections that come and go are events, twenty a second; who asks again at each would never be done.
      await pause(Math.max(0, askedAt + refreshMs(known) - 200 - performance.now()))
      askedAt = performance.now()
      const found = await allConnections(signal)
      known = found.length
      return found
    },
    // All of it is new each time; comparing thousands of rows with those before would cost more than it saves.
    structuralSharing: false,
    staleTime: 0,
    gcTime: 30_000,
    refetchInterval: () => refreshMs(known),
  })
}

/** One connection; null when it is no longer open. */
export function useConnection(id: MaybeRefOrGetter<string>) {
  return useQuery({
    queryKey: computed(() => [keys.connections, 'one', toValue(id)]),
    queryFn: async () => {
      // Looked for, not asked for: that one has closed is no error.
      const page = await ask(api.GET('/api/v1/connections', { params: { query: { search: toValue(id), limit: 1 } } }))
      return page.items.find(({ connection_id }) => connection_id === toValue(id)) ?? null
    },
    enabled: computed(() => toValue(id) !== ''),
    staleTime: 0,
    refetchInterval: ({ state }) => (state.data === null ? false : 2_000),
  })
}

export function useConnectionStats() {
  return useQuery({
    queryKey: [keys.stats, 'connections'],
    queryFn: () => ask(api.GET('/api/v1/connections/stats')),
    refetchInterval: 3_000,
  })
}

export function useConnectionSeries(range: MaybeRefOrGetter<string>) {
  return useQuery({
    queryKey: computed(() => [keys.series, 'connections', toValue(range)]),
    queryFn: async (): Promise<OverTime> => {
      const query = { metric: 'active_connections', agg: 'sum', from: toValue(range) }
      const [all, largest] = await Promise.all([
        ask(api.GET('/api/v1/stats/timeseries', { params: { query } })),
        // A thousand services with hundreds of points each would be megabytes, each time.
        ask(api.GET('/api/v1/stats/timeseries', { params: { query: { ...query, group_by: 'service', top: MOST_LINES } } })),
      ])
      return { all: all.series[0]?.points ?? [], largest: largest.series, others: largest.left_out ?? 0 }
    },
    placeholderData: (before) => before,
    refetchInterval: 10_000,
  })
}

export interface Farewell {
  reason: string
  code?: number
  notify: boolean
}

/** Closes one, and says what came of it. */
export async function closeConnection(id: string, { reason, code, notify }: Farewell): Promise<{ outcome: Outcome; problem?: string }> {
  const body = { reason: reason === '' ? null : reason, code: code ?? null, notify_client: notify }
  try {
    const { closed } = await ask(api.POST('/api/v1/connections/{connection}/disconnect', { params: { path: { connection: id } }, body }))
    return { outcome: closed ? 'closed' : 'pending' }
  } catch (error) {
    if (error instanceof ApiProblem && error.code === 'CONNECTION_NOT_FOUND') return { outcome: 'gone' }
    return { outcome: 'failed', problem: asProblem(error).message }
  }
}
