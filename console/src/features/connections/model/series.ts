/** Connections over time as lines of a chart. Pure. */
import type { Series } from '@/api/schema.gen'
import type { ChartLine } from '@/ui/chart/lines'

/** The chart tells so many lines apart. */
const MOST_LINES = 5

type Point = readonly [number, number | null]

/** The services with the most connections, one line each; the rest is one. */
export function linesOf(series: readonly Series[], fallback: string, others: (count: number) => string): ChartLine[] {
  const lines = series
    .map((one) => ({ name: one.service ?? fallback, points: pointsOf(one) }))
    .map((line) => ({ ...line, weight: line.points.reduce((sum, [, value]) => sum + (value ?? 0), 0) }))
    .sort((a, b) => b.weight - a.weight || (a.name < b.name ? -1 : 1))
    .map(({ name, points }) => ({ name, points }))
  if (lines.length <= MOST_LINES) return lines
  const rest = lines.slice(MOST_LINES - 1)
  return [...lines.slice(0, MOST_LINES - 1), { name: others(rest.length), points: sumOf(rest) }]
}

function pointsOf({ points }: Series): Point[] {
  return points.flatMap(([at, value]) => (typeof at === 'number' ? [[at * 1000, value ?? null] as const] : []))
}

/** Where none of them was measured there is a gap. */
function sumOf(lines: readonly ChartLine[]): Point[] {
  const sums = new Map<number, number | null>()
  for (const [at, value] of lines.flatMap(({ points }) => points)) {
    const before = sums.get(at) ?? null
    sums.set(at, value === null ? before : (before ?? 0) + value)
  }
  return [...sums].sort(([a], [b]) => a - b)
}
