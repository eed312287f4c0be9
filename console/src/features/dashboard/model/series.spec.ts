import { describe, expect, it } from 'vitest'
import type { TimeseriesView } from '@/api/schema.gen'
import { highest, latest, linesOf, rangeOf, ranges, rates, refreshOf, seriesName, spanOf } from './series'

const view = (series: TimeseriesView['series']): TimeseriesView => ({
  metric: 'messages_in', unit: 'messages/s', kind: 'counter', agg: 'rate', interval_seconds: 10, tier: '10s', from: 0, to: 30, series,
})

/** `30s` → 30 */
const seconds = (text: string) => Number.parseInt(text, 10) * ({ s: 1, m: 60, h: 3600, d: 86_400 }[text.at(-1) ?? ''] ?? Number.NaN)

describe('a range', () => {
  it('is the one that the address names, or an hour', () => {
    expect(rangeOf('7d')).toBe('7d')
    expect(rangeOf('')).toBe('1h')
    expect(rangeOf('3 weeks')).toBe('1h')
  })

  it.each(ranges)('of %s has as many points as a chart can show, of samples that are still kept', (range) => {
    const { from, interval } = spanOf(range)
    const points = seconds(from) / seconds(interval)
    expect(points).toBeGreaterThanOrEqual(90)
    expect(points).toBeLessThanOrEqual(300)
    const finest = seconds(from) < 86_400 ? 10 : seconds(from) <= 14 * 86_400 ? 60 : 3600
    expect(seconds(interval) % finest).toBe(0)
  })

  it.each(ranges)('of %s is asked for again about as often as it gets a point, at most each ten seconds', (range) => {
    expect(refreshOf(range)).toBeGreaterThanOrEqual(10_000)
    expect(refreshOf(range)).toBeLessThanOrEqual(Math.max(10_000, seconds(spanOf(range).interval) * 1000))
  })
})

describe('lines', () => {
  it('have the name of the instance, the service, or all, and times in ms', () => {
    const answer = view([
      { points: [[10, 1], [20, null]] },
      { service: 'a', points: [[10, 2]] },
      { service: 'a', instance: 'a-0', points: [] },
    ])
    expect(linesOf(answer, 'all')).toEqual([
      { name: 'all', points: [[10_000, 1], [20_000, null]] },
      { name: 'a', points: [[10_000, 2]] },
      { name: 'a-0', points: [] },
    ])
    expect(seriesName({ service: null, instance: null, points: [] }, 'all')).toBe('all')
  })

  it('are none before there is an answer', () => expect(linesOf(undefined, 'all')).toEqual([]))

  it('leave out a point without a time', () => expect(linesOf(view([{ points: [[], [null, 3], [5]] }]), 'x')[0]?.points).toEqual([[5000, null]]))
})

describe('the highest lines', () => {
  const line = (name: string, ...values: (number | null)[]) => ({ name, points: values.map((value, at) => [at, value] as const) })

  it('are those with the highest mean of what was measured', () => {
    const lines = [line('low', 1, 1, 1), line('gaps', null, 9, null), line('none', null), line('mid', 4, 6)]
    expect(highest(lines, 2).map(({ name }) => name)).toEqual(['gaps', 'mid'])
    expect(highest(lines, 9).map(({ name }) => name)).toEqual(['gaps', 'mid', 'low'])
  })
  it('are one if nothing was ever more than zero', () => {
    expect(highest([line('a', 0, 0), line('b', null)], 9).map(({ name }) => name)).toEqual(['a'])
    expect(highest([], 9)).toEqual([])
  })
})

describe('a rate', () => {
  const points = (...values: (number | null)[]) => values.map((value, at) => [at, value] as const)

  it('is the part of the whole, and nothing where nothing happened', () => {
    const failed = [{ name: 'a', points: points(1, 0, null, 0) }]
    const completed = [{ name: 'b', points: points(9, 9, 9, 9) }, { name: 'a', points: points(3, 4, 5, 0) }]
    expect(rates(failed, completed)).toEqual([{ name: 'a', points: points(0.25, 0, null, null) }])
  })

  it('is one where nothing else was measured', () => expect(rates([{ name: 'a', points: points(2) }], [])[0]?.points).toEqual([[0, 1]]))
})

it('the latest value is the last that was measured', () => {
  expect(latest({ name: 'a', points: [[1, 0], [2, null]] })).toBe(0)
  expect(latest({ name: 'a', points: [[1, null]] })).toBeUndefined()
  expect(latest(undefined)).toBeUndefined()
})
