import type { Aggregate, TimeseriesView } from '@/api/schema.gen'
import { decimal, percent, span } from '@/ui/format'
import type { ChartLine } from '@/ui/chart/lines'
import { memory } from './overview'
import { highest, linesOf, rates } from './series'

/** What a line of a chart is made of. */
interface Part {
  metric: string
  agg: Aggregate
  /** Key of its name among `dashboard.lines`. */
  name: LineName
}

export type LineName = 'connections' | 'sessions' | 'in' | 'out' | 'failed' | 'completed' | 'median' | 'p90' | 'cpu' | 'memory' | 'restarts'
type ChartName = 'connections' | 'sessions' | 'messages' | 'errors' | 'firstResponse' | 'cpu' | 'memory' | 'restarts'

export interface Chart {
  name: ChartName
  parts: Part[]
  /** `rate`: the first part of it and the second together. `lines`: each is a line; grouped by service, only the last is. */
  shows: 'lines' | 'rate'
  /** Lines on top of each other: parts of a whole. */
  stacked?: boolean
  /** There are no halves of it. */
  whole?: boolean
  write: (value: number, language: string) => string
}

export const charts: readonly Chart[] = [
  {
    name: 'connections', shows: 'lines', stacked: true, whole: true, write: decimal,
    parts: [{ metric: 'active_connections', agg: 'sum', name: 'connections' }],
  },
  {
    name: 'sessions', shows: 'lines', stacked: true, whole: true, write: decimal,
    parts: [{ metric: 'active_sessions', agg: 'sum', name: 'sessions' }],
  },
  {
    name: 'messages', shows: 'lines', write: decimal,
    parts: [{ metric: 'messages_in', agg: 'rate', name: 'in' }, { metric: 'messages_out', agg: 'rate', name: 'out' }],
  },
  {
    name: 'errors', shows: 'rate', write: percent,
    parts: [{ metric: 'turns_failed', agg: 'sum', name: 'failed' }, { metric: 'turns_completed', agg: 'sum', name: 'completed' }],
  },
  {
    name: 'firstResponse', shows: 'lines', write: (seconds) => (seconds === 0 ? '0' : span(seconds * 1000)),
    parts: [
      { metric: 'first_response_seconds', agg: 'p50', name: 'median' },
      { metric: 'first_response_seconds', agg: 'p90', name: 'p90' },
    ],
  },
  {
    name: 'cpu', shows: 'lines', stacked: true, write: (value, language) => percent(value / 100, language),
    parts: [{ metric: 'cpu_percent', agg: 'sum', name: 'cpu' }],
  },
  { name: 'memory', shows: 'lines', stacked: true, write: memory, parts: [{ metric: 'memory_mb', agg: 'sum', name: 'memory' }] },
  {
    name: 'restarts', shows: 'lines', stacked: true, whole: true, write: decimal,
    parts: [{ metric: 'restarts', agg: 'sum', name: 'restarts' }],
  },
]

/** More lines than there are colours are not told apart. */
export const MOST_LINES = 6

/** What the API must be asked for: of several lines only the last is shown for each service. */
export function partsOf(chart: Chart, grouped: boolean): Part[] {
  return grouped && chart.shows === 'lines' ? chart.parts.slice(-1) : chart.parts
}

/** The lines of `chart`, from the answers for its parts, in their order. */
export function chartLines(
  chart: Chart,
  answers: readonly (TimeseriesView | undefined)[],
  grouped: boolean,
  nameOf: (line: LineName) => string,
): ChartLine[] {
  const parts = partsOf(chart, grouped)
  const lines = parts.map((part, index) => linesOf(answers[index], nameOf(chart.shows === 'rate' ? 'failed' : part.name)))
  const shown = chart.shows === 'rate' ? rates(lines[0] ?? [], lines[1] ?? []) : lines.flat()
  return grouped ? highest(shown, MOST_LINES) : shown
}

/** How many lines there are beyond those that are shown; such as have only zeros are not missed. */
export function hiddenLines(answers: readonly (TimeseriesView | undefined)[]): number {
  const lines = answers[0]?.series.filter(({ points }) => points.some(([, value]) => value)) ?? []
  return Math.max(0, lines.length - MOST_LINES)
}
