import { keepPreviousData, useMutation, useQueries, useQuery } from '@tanstack/vue-query'
import { computed, toValue, type MaybeRefOrGetter } from 'vue'
import { api, ask } from '@/api/client'
import { keys, queryClient } from '@/api/queries'
import type { Aggregate, Notification } from '@/api/schema.gen'
import { refreshOf, spanOf, type Range } from './model/series'
import { overviewQuery } from './overview'

export function useOverview() {
  return useQuery({ ...overviewQuery, refetchInterval: 5_000 })
}

/** A metric over time. */
export interface SeriesRequest {
  metric: string
  range: Range
  /** Without it that of the metric: `rate` of counters, `sum` of gauges, `avg` of histograms. */
  agg?: Aggregate
  service?: string
  instance?: string
  groupBy?: 'service' | 'instance'
}

/** What was there before is shown until another range, or another group, has come. */
const seriesQuery = (request: SeriesRequest) => ({
  queryKey: [keys.series, request],
  queryFn: ({ signal }: { signal: AbortSignal }) => {
    const { metric, range, agg, service, instance, groupBy } = request
    const query = { metric, ...spanOf(range), agg, service, instance, group_by: groupBy }
    return ask(api.GET('/api/v1/stats/timeseries', { params: { query }, signal }))
  },
  placeholderData: keepPreviousData,
  refetchInterval: refreshOf(request.range),
})

export function useTimeseries(request: MaybeRefOrGetter<SeriesRequest>, enabled: MaybeRefOrGetter<boolean> = true) {
  return useQuery(computed(() => ({ ...seriesQuery(toValue(request)), enabled: toValue(enabled) })))
}

/** Several metrics for one chart: their answers in the order of the requests. */
export function useSeveralTimeseries(requests: MaybeRefOrGetter<readonly SeriesRequest[]>) {
  const queries = useQueries({ queries: computed(() => toValue(requests).map(seriesQuery)) })
  return {
    answers: computed(() => queries.value.map(({ data }) => data)),
    error: computed(() => queries.value.find(({ error, data }) => error && !data)?.error),
    isPending: computed(() => queries.value.some(({ isPending }) => isPending)),
    refetch: () => queries.value.forEach(({ refetch }) => void refetch()),
  }
}

/** Starts a service, or restarts it; the answer comes when it is done. */
export function useMend() {
  return useMutation({
    mutationFn: ({ service, act }: { service: string; act: 'start' | 'restart' }) => {
      const params = { params: { path: { service } } }
      return ask<unknown>(act === 'start' ? api.POST('/api/v1/services/{service}/start', params) : api.POST('/api/v1/services/{service}/restart', params))
    },
    onSettled: () =>
      Promise.all([keys.stats, keys.services].map((key) => queryClient.invalidateQueries({ queryKey: [key] }))),
  })
}

export function useNotify() {
  return useMutation({ mutationFn: (body: Notification) => ask(api.POST('/api/v1/notifications', { body })) })
}
