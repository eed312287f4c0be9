import { describe, expect, it } from 'vitest'
import { heightOf, percentilesOf, stripsOf } from './health'

const check = (second: number, instance = 'a-0', healthy = true, latency_ms = 10) => ({
  at: `2026-01-02T03:04:${String(second).padStart(2, '0')}Z`, instance, healthy, latency_ms, message: healthy ? null : 'no answer',
})

describe('strips', () => {
  it('are one for each instance, the oldest check first', () => {
    const strips = stripsOf([check(3), check(2, 'a-1', false), check(1)], ['a-0', 'a-1', 'a-2'])
    expect(strips.map(({ instance, checks, failed }) => [instance, checks.map(({ at }) => at.slice(17, 19)), failed])).toEqual([
      ['a-0', ['01', '03'], 0], ['a-1', ['02'], 1], ['a-2', [], 0],
    ])
  })

  it('have the newest checks, and failures of those only', () => {
    const [strip] = stripsOf([check(1, 'a-0', false), check(2), check(3)], ['a-0'], 2)
    expect([strip?.checks.length, strip?.failed]).toEqual([2, 0])
  })

  it('are also there for instances that are no more', () => {
    expect(stripsOf([check(1, 'a-9')], ['a-0']).map(({ instance }) => instance)).toEqual(['a-0', 'a-9'])
  })
})

it('the slowest check is the highest, and a failure is not to be overlooked', () => {
  const strip = { instance: 'a-0', checks: [check(1), check(2, 'a-0', true, 20), check(3, 'a-0', false, 0)], failed: 1 }
  expect(strip.checks.map((each) => Math.round(100 * heightOf(each, strip)))).toEqual([68, 100, 100])
  const still = { instance: 'a-0', checks: [check(1, 'a-0', true, 0)], failed: 0 }
  expect(still.checks.map((each) => heightOf(each, still))).toEqual([0.35])
})

it('percentiles are those that there are', () => {
  expect(percentilesOf({ checks: 1, failures: 0, success_rate: 1, latency_p50_ms: 1, latency_p90_ms: null, latency_p99_ms: 3 })).toEqual([
    { name: 'p50', ms: 1 }, { name: 'p99', ms: 3 },
  ])
})
