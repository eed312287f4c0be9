import { readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import type { TimeseriesView } from '@/api/schema.gen'
import { asks, chartsOf, isRange, linesOf, pointsOf, ranges, shareOf } from './charts'

const reference = readFileSync(path.resolve(import.meta.dirname, '../../../../../docs/reference/timeseries.md'), 'utf8')
const known = new Map(
  [...reference.matchAll(/^\| `(\w+)` \|[^|]*\|[^|]*\|[^|]*\| ([^|]*) \|/gm)].map((row) => [row[1] ?? '', (row[2] ?? '').split(', ')]),
)

describe('what is asked for', () => {
  it.each(Object.values(asks).flatMap((ask) => Object.values(ask)))('$metric, $agg is measured', ({ metric, agg }) => {
    expect(known.get(metric)).toContain(agg)
  })

  it('depends on what runs', () => {
    expect(chartsOf({ kind: 'file', path: '/a.py' })).toContain('firstResponse')
    expect(chartsOf({ kind: 'command', argv: ['a'] })).not.toContain('errorRate')
    expect(chartsOf({ kind: 'external', url: 'ws://x' })).toEqual(['connections', 'messages'])
  })

  it('is as far back as one of the ranges', () => {
    expect(Object.keys(ranges).every(isRange)).toBe(true)
    expect(isRange('3y')).toBe(false)
    expect(isRange('constructor')).toBe(false)
  })
})

it('points are in ms, and gaps stay gaps', () => {
  const answer = { series: [{ points: [[10, 1.5], [20, null]] }] } as TimeseriesView
  expect(pointsOf(answer)).toEqual([[10_000, 1.5], [20_000, null]])
  expect(pointsOf({ series: [] as TimeseriesView['series'] } as TimeseriesView)).toEqual([])
  expect(pointsOf(undefined)).toEqual([])
})

it('a share is of what ended then, and of nothing there is none', () => {
  const failed = [[1, 1], [2, 0], [3, null], [4, 2]] as const
  const completed = [[1, 3], [2, 0], [3, null], [4, null]] as const
  expect(shareOf(failed, completed)).toEqual([[1, 0.25], [2, null], [3, null], [4, 1]])
})

describe('the lines of a chart', () => {
  it('have the names of what was asked for, in its order', () => {
    expect(linesOf('messages', [[[1, 2]], [[1, 3]]], (key) => key.toUpperCase())).toEqual([
      { name: 'IN', points: [[1, 2]] }, { name: 'OUT', points: [[1, 3]] },
    ])
    expect(linesOf('cpu', [], String)).toEqual([{ name: 'cpu', points: [] }])
  })

  it('of failed answers are one', () => {
    expect(linesOf('errorRate', [[[1, 1]], [[1, 1]]], String)).toEqual([{ name: 'failed', points: [[1, 0.5]] }])
  })
})
