import type { Series, TimeseriesView } from '@/api/schema.gen'
import type { ChartLine } from '@/ui/chart/lines'

/** How far back charts look. */
export const ranges = ['15m', '1h', '6h', '24h', '7d', '30d'] as const
export type Range = (typeof ranges)[number]
export const usualRange: Range = '1h'

/** The range that an address names; the usual one if it names none that there is. */
export function rangeOf(text: string): Range {
  return ranges.find((range) => range === text) ?? usualRange
}

/**
 * Length of a point, such that a chart has one to three hundred of them, and none is finer than what is kept for so
 * long: samples of ten seconds for a day, of a minute for two weeks, of an hour for a year.
 */
const intervals: Record<Range, string> = { '15m': '10s', '1h': '30s', '6h': '2m', '24h': '10m', '7d': '1h', '30d': '3h' }

/** What the API is asked for to show `range`. */
export function spanOf(range: Range): { from: string; interval: string } {
  return { from: range, interval: intervals[range] }
}

/** How often a chart of `range` is asked for again, ms: about as often as it gets a point. */
export function refreshOf(range: Range): number {
  if (range === '15m') return 10_000
  return range === '1h' ? 20_000 : 60_000
}

/** Name of a series that the API has grouped by service or instance. */
export function seriesName(series: Series, ofAll: string): string {
  return series.instance ?? series.service ?? ofAll
}

/** The lines of an answer; `ofAll` is the name of one that is of no service in particular. */
export function linesOf(view: TimeseriesView | undefined, ofAll: string): ChartLine[] {
  return (view?.series ?? []).map((series) => ({ name: seriesName(series, ofAll), points: pointsOf(series) }))
}

function pointsOf(series: Series): [number, number | null][] {
  return series.points.flatMap(([at, value]) => (typeof at === 'number' ? [[at * 1000, value ?? null] as [number, number | null]] : []))
}

/**
 * The `most` lines with the highest mean, the highest first: more than a few cannot be told apart. Lines of nothing but
 * zeros say nothing, unless all are.
 */
export function highest(lines: readonly ChartLine[], most: number): ChartLine[] {
  const byMean = lines.map((line) => ({ line, mean: mean(line) })).sort((a, b) => b.mean - a.mean)
  const some = byMean.filter((each) => each.mean > 0)
  return (some.length > 0 ? some : byMean.slice(0, 1)).slice(0, most).map(({ line }) => line)
}

function mean({ points }: ChartLine): number {
  const values = points.map(([, value]) => value).filter((value) => value !== null)
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length)
}

/**
 * Of each point of `parts` which part it is of itself and `others` together, by name. Where nothing happened there is no
 * rate: neither 0 nor 1 would be true.
 */
export function rates(parts: readonly ChartLine[], others: readonly ChartLine[]): ChartLine[] {
  return parts.map((part) => {
    const other = new Map(others.find(({ name }) => name === part.name)?.points)
    return {
      name: part.name,
      points: part.points.map(([at, value]) => {
        const whole = value === null ? 0 : value + (other.get(at) ?? 0)
        return [at, value === null || whole === 0 ? null : value / whole] as const
      }),
    }
  })
}

/** The last value that was measured. */
export function latest(line: ChartLine | undefined): number | undefined {
  return line?.points.findLast(([, value]) => value !== null)?.[1] ?? undefined
}
