import { describe, expect, it } from 'vitest'
import type { TimeseriesView } from '@/api/schema.gen'
import { chartLines, charts, hiddenLines, MOST_LINES, partsOf, type Chart } from './charts'

const answer = (...series: [string | null, number | null][]): TimeseriesView => ({
  metric: 'm', unit: '', kind: 'gauge', agg: 'sum', interval_seconds: 10, tier: '10s', from: 0, to: 10,
  series: series.map(([service, value]) => ({ service, points: [[1, value]] })),
})
const chart = (name: Chart['name']) => charts.find((each) => each.name === name) ?? charts[0] as Chart
const named = (name: string) => `the ${name}`

describe('a chart', () => {
  it('has a line for each of its parts, by name', () => {
    expect(chartLines(chart('messages'), [answer([null, 1]), answer([null, 2])], false, named)).toEqual([
      { name: 'the in', points: [[1000, 1]] },
      { name: 'the out', points: [[1000, 2]] },
    ])
  })
  it('of a rate has one line, made of two', () => {
    expect(chartLines(chart('errors'), [answer([null, 1]), answer([null, 3])], false, named)).toEqual([{ name: 'the failed', points: [[1000, 0.25]] }])
  })
  it('has no lines before the answers', () => expect(chartLines(chart('errors'), [undefined, undefined], false, named)).toEqual([]))
  it('shows the last of its parts for each service', () => {
    expect(partsOf(chart('firstResponse'), true).map(({ agg }) => agg)).toEqual(['p90'])
    expect(partsOf(chart('firstResponse'), false)).toHaveLength(2)
    expect(partsOf(chart('errors'), true)).toHaveLength(2)
  })
  it('shows the busiest services only, and how many more there are', () => {
    const many = answer(...Array.from({ length: 9 }, (_, index): [string, number] => [`s${index}`, index]))
    const lines = chartLines(chart('memory'), [many], true, named)
    expect(lines.map(({ name }) => name)).toEqual(['s8', 's7', 's6', 's5', 's4', 's3'])
    expect(lines).toHaveLength(MOST_LINES)
    expect(hiddenLines([many])).toBe(2)
    expect(hiddenLines([undefined])).toBe(0)
  })
  it.each([
    ['firstResponse', 0.34, '340 ms'],
    ['firstResponse', 0, '0'],
    ['cpu', 12, '12%'],
    ['memory', 2048, '2 GiB'],
    ['errors', 0.5, '50%'],
    ['restarts', 2, '2'],
  ] as const)('%s writes %d as %s', (name, value, text) => expect(chart(name).write(value, 'en')).toBe(text))
})
