import { keepPreviousData, useQuery } from '@tanstack/vue-query'
import { computed, toValue, type MaybeRefOrGetter } from 'vue'
import { api, ask } from '@/api/client'
import { keys } from '@/api/queries'
import type { Aggregate } from '@/api/schema.gen'
import { refreshOf, spanOf, type Range } from './model/series'

export function useOverview() {
  return useQuery({
    queryKey: [keys.stats, 'overview'],
    queryFn: () => ask(api.GET('/api/v1/stats/overview')),
    refetchInterval: 5_000,
  })
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
export function useTimeseries(request: MaybeRefOrGetter<SeriesRequest>, enabled: MaybeRefOrGetter<boolean> = true) {
  return useQuery({
    queryKey: computed(() => [keys.series, toValue(request)]),
    queryFn: ({ signal }) => {
      const { metric, range, agg, service, instance, groupBy } = toValue(request)
      const query = { metric, ...spanOf(range), agg, service, instance, group_by: groupBy }
      return ask(api.GET('/api/v1/stats/timeseries', { params: { query }, signal }))
    },
    placeholderData: keepPreviousData,
    refetchInterval: () => refreshOf(toValue(request).range),
    enabled: computed(() => toValue(enabled)),
  })
}
