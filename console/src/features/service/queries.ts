import { useQueries, useQuery } from '@tanstack/vue-query'
import { computed, toValue, type MaybeRefOrGetter } from 'vue'
import { api, ask } from '@/api/client'
import { ApiProblem } from '@/api/problem'
import { keys, queryClient } from '@/api/queries'
import type { LogLevel, PageEvent, PageLogLine, ServiceConfig } from '@/api/schema.gen'
import { asks, pointsOf, ranges, type Ask, type ChartName, type Range } from './model/charts'
import { defaultsOf, type ApiDocument, type Values } from './model/settings'

type Name = MaybeRefOrGetter<string>

const of = (name: string) => ({ path: { service: name } })

export function useServiceStats(name: Name) {
  return useQuery({
    queryKey: computed(() => [keys.stats, 'service', toValue(name)]),
    queryFn: () => ask(api.GET('/api/v1/services/{service}/stats', { params: of(toValue(name)) })),
    refetchInterval: 3_000,
  })
}

export function useInfo() {
  return useQuery({ queryKey: [keys.info], queryFn: () => ask(api.GET('/api/v1/info')) })
}

export function useServiceHealth(name: Name) {
  return useQuery({
    queryKey: computed(() => [keys.services, toValue(name), 'health']),
    queryFn: () => ask(api.GET('/api/v1/services/{service}/health', { params: of(toValue(name)) })),
    refetchInterval: 5_000,
  })
}

export function useHealthHistory(name: Name, limit: number) {
  return useQuery({
    queryKey: computed(() => [keys.services, toValue(name), 'health', 'history', limit]),
    queryFn: () => ask(api.GET('/api/v1/services/{service}/health/history', { params: { ...of(toValue(name)), query: { limit } } })),
    refetchInterval: 5_000,
  })
}

export async function checkHealth(name: string) {
  try {
    return await ask(api.POST('/api/v1/services/{service}/health/check', { params: of(name) }))
  } finally {
    void queryClient.invalidateQueries({ queryKey: [keys.services] })
  }
}

export function useServiceConnections(name: Name, limit: number) {
  return useQuery({
    queryKey: computed(() => [keys.connections, 'service', toValue(name), limit]),
    queryFn: () => ask(api.GET('/api/v1/services/{service}/connections', { params: { ...of(toValue(name)), query: { limit } } })),
    refetchInterval: 2_000,
  })
}

export function useServiceEvents(name: Name, limit: MaybeRefOrGetter<number>) {
  return useQuery({
    queryKey: computed(() => [keys.events, 'service', toValue(name), toValue(limit)]),
    // The other form of the answer, an event stream, is not asked for.
    queryFn: async () =>
      (await ask(api.GET('/api/v1/events', { params: { query: { service: toValue(name), limit: toValue(limit) } } }))) as PageEvent,
    placeholderData: (before) => before,
  })
}

function seriesQuery(service: string, { metric, agg }: Ask, range: Range) {
  return {
    queryKey: [keys.series, 'service', service, metric, agg, range],
    queryFn: () => ask(api.GET('/api/v1/stats/timeseries', { params: { query: { metric, agg, service, from: range } } })),
    // Events do not change the past: what the interval says is often enough.
    staleTime: ranges[range].refetchMs,
    refetchInterval: ranges[range].refetchMs,
  }
}

/** The series of a chart, in the order of `asks`. */
export function useSeries(name: Name, chart: MaybeRefOrGetter<ChartName>, range: MaybeRefOrGetter<Range>) {
  return useQueries({
    queries: computed(() => Object.values(asks[toValue(chart)]).map((each) => seriesQuery(toValue(name), each, toValue(range)))),
    combine: (answers) => ({
      points: answers.map(({ data }) => pointsOf(data)),
      pending: answers.some(({ isPending }) => isPending),
      error: answers.find(({ error, data }) => error && !data)?.error ?? undefined,
    }),
  })
}

/** Lines between two times, the oldest first. */
export function useLogWindow(name: Name, filter: MaybeRefOrGetter<{ level: string; instance: string; since: string; until: string }>, most: number) {
  return useQuery({
    queryKey: computed(() => {
      const { level, instance, since, until } = toValue(filter)
      return ['logs', 'window', toValue(name), { level, instance, since, until }, most]
    }),
    queryFn: async () => {
      const { level, instance, since, until } = toValue(filter)
      const query = { level: (level || undefined) as LogLevel | undefined, instance: instance || undefined, since: since || undefined, until: until || undefined, tail: most }
      return (await ask(api.GET('/api/v1/services/{service}/logs', { params: { ...of(toValue(name)), query } }))) as PageLogLine
    },
    enabled: () => toValue(filter).until !== '',
  })
}

/** The defaults of all settings, as the document of the API has them. */
export function useDefaults() {
  return useQuery({
    queryKey: ['openapi', 'defaults'],
    queryFn: async (): Promise<Values> => {
      const response = await fetch('/openapi.json').catch((error: unknown) => Promise.reject(ApiProblem.unreachable(error)))
      if (!response.ok) throw new ApiProblem(response.status, undefined)
      return defaultsOf((await response.json()) as ApiDocument)
    },
    staleTime: Infinity,
  })
}

/** Replaces the settings, if nobody has changed the service since `version`. */
export async function replaceConfig(name: string, config: Values, version: number) {
  try {
    return await ask(
      api.PUT('/api/v1/services/{service}/config', {
        params: { ...of(name), header: { 'If-Match': `"${version}"` } },
        body: config as unknown as ServiceConfig,
      }),
    )
  } finally {
    void queryClient.invalidateQueries({ queryKey: [keys.services] })
  }
}
