/** A line of a chart. */
export interface ChartLine {
  name: string
  /** Time in ms and the value then; `null`: it was not measured, and the line has a gap. */
  points: readonly (readonly [number, number | null])[]
}

interface Summary {
  last?: number
  lowest?: number
  highest?: number
}

/** What is to be said of a line that nobody sees. */
export function summary(line: ChartLine): Summary {
  const values = line.points.map(([, value]) => value).filter((value) => value !== null)
  if (values.length === 0) return {}
  return { last: values.at(-1), lowest: Math.min(...values), highest: Math.max(...values) }
}
