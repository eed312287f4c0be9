/** Connections over time as lines of a chart. Pure. */
import type { Series } from '@/api/schema.gen'
import type { ChartLine } from '@/ui/chart/lines'

/** So many services have lines of their own, that can be told apart. */
export const MOST_LINES = 4

export interface OverTime {
  /** Of all services together. */
  all: Series['points']
  /** Those with the most connections, the largest first. */
  largest: readonly Series[]
  /** How many services there are besides. */
  others: number
}

type Point = readonly [number, number | null]

/** The services with the most connections, one line each; the rest is one. */
export function linesOf({ all, largest, others }: OverTime, nameOthers: (count: number) => string): ChartLine[] {
  const lines = largest.map(({ service, points }) => ({ name: service ?? '', points: pointsOf(points) }))
  if (others === 0) return lines
  return [...lines, { name: nameOthers(others), points: without(pointsOf(all), lines) }]
}

function pointsOf(points: Series['points']): Point[] {
  return points.flatMap(([at, value]) => (typeof at === 'number' ? [[at * 1000, value ?? null] as const] : []))
}

/** What is left of `all`. Where nothing was measured there is a gap. */
function without(all: readonly Point[], lines: readonly ChartLine[]): Point[] {
  const shown = new Map<number, number>()
  for (const [at, value] of lines.flatMap(({ points }) => points)) shown.set(at, (shown.get(at) ?? 0) + (value ?? 0))
  // Both were asked for one after the other: the newest point may have grown meanwhile.
  return all.map(([at, value]) => [at, value === null ? null : Math.max(0, value - (shown.get(at) ?? 0))])
}
