/** The charts of a service: what is asked for and how it becomes lines. Pure. */
import type { Aggregate, ServiceView, TimeseriesView } from '@/api/schema.gen'
import type { ChartLine } from '@/ui/chart/lines'

/** How far back, and how often it is asked for anew. */
export const ranges = {
  '15m': { refetchMs: 10_000 },
  '1h': { refetchMs: 15_000 },
  '6h': { refetchMs: 60_000 },
  '24h': { refetchMs: 120_000 },
  '7d': { refetchMs: 600_000 },
} as const

export type Range = keyof typeof ranges

export function isRange(value: string): value is Range {
  return Object.hasOwn(ranges, value)
}

export type ChartName = 'connections' | 'messages' | 'cpu' | 'memory' | 'firstResponse' | 'errorRate' | 'restarts'

/** A series to ask for. */
export interface Ask {
  metric: string
  agg: Aggregate
}

/** What each chart is made of; the names of lines are keys of texts. */
export const asks: Record<ChartName, Record<string, Ask>> = {
  connections: { connections: { metric: 'active_connections', agg: 'sum' } },
  messages: { in: { metric: 'messages_in', agg: 'rate' }, out: { metric: 'messages_out', agg: 'rate' } },
  cpu: { cpu: { metric: 'cpu_percent', agg: 'sum' } },
  memory: { memory: { metric: 'memory_mb', agg: 'sum' } },
  firstResponse: { p50: { metric: 'first_response_seconds', agg: 'p50' }, p90: { metric: 'first_response_seconds', agg: 'p90' } },
  errorRate: { failed: { metric: 'turns_failed', agg: 'sum' }, completed: { metric: 'turns_completed', agg: 'sum' } },
  restarts: { restarts: { metric: 'restarts', agg: 'sum' } },
}

/** What is measured depends on what runs: only agent files have turns, and what runs elsewhere has no process here. */
export function chartsOf(source: ServiceView['source']): ChartName[] {
  switch (source.kind) {
    case 'file':
      return ['connections', 'messages', 'firstResponse', 'errorRate', 'cpu', 'memory']
    case 'command':
      return ['connections', 'messages', 'cpu', 'memory', 'restarts']
    case 'external':
      return ['connections', 'messages']
  }
}

type Points = ChartLine['points']

/** The points of an answer that has one series; in ms. */
export function pointsOf(answer: TimeseriesView | undefined): Points {
  return (answer?.series[0]?.points ?? []).flatMap(([at, value]) => (at == null ? [] : [[at * 1000, value ?? null] as const]))
}

/** The share of `failed` of all, where there was any; nothing where there was none. */
export function shareOf(failed: Points, completed: Points): Points {
  const good = new Map(completed)
  return failed.map(([at, bad]) => {
    const all = (bad ?? 0) + (good.get(at) ?? 0)
    return [at, all === 0 ? null : (bad ?? 0) / all] as const
  })
}

/** The lines of a chart, from its series in the order of `asks`; `name` gives the text of a line. */
export function linesOf(chart: ChartName, series: readonly Points[], name: (key: string) => string): ChartLine[] {
  if (chart === 'errorRate') return [{ name: name('failed'), points: shareOf(series[0] ?? [], series[1] ?? []) }]
  return Object.keys(asks[chart]).map((key, index) => ({ name: name(key), points: series[index] ?? [] }))
}
