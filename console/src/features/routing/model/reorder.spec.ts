import { describe, expect, it } from 'vitest'
import type { RuleView } from '@/api/schema.gen'
import { inOrder, moved, priorityChanges } from './reorder'

/** Rules `a, b, …` of these priorities, each younger than the one before. */
function rules(...priorities: number[]): RuleView[] {
  return priorities.map((priority, index) => {
    const name = String.fromCharCode(97 + (index % 26)) + (index >= 26 ? String(index) : '')
    return { rule_id: `id-${String(index).padStart(4, '0')}`, name, priority, created_at: `2026-01-01T00:00:00.${String(index).padStart(9, '0')}Z` } as RuleView
  })
}

function apply(list: readonly RuleView[], from: number, to: number) {
  const wanted = moved(list, from, to)
  const changes = priorityChanges(wanted, list[from]?.rule_id)
  const next = new Map(changes.map(({ rule, priority }) => [rule.rule_id, priority]))
  const after = inOrder(list.map((rule) => ({ ...rule, priority: next.get(rule.rule_id) ?? rule.priority })))
  expect(after.map(({ name }) => name)).toEqual(wanted.map(({ name }) => name))
  return changes.map(({ rule, priority }) => `${rule.name}=${priority}`)
}

describe('the order', () => {
  it('is by priority, then by age', () => {
    const [a, b, c] = rules(5, 1, 5)
    expect(inOrder([c, a, b].filter((rule) => rule !== undefined)).map(({ name }) => name)).toEqual(['b', 'a', 'c'])
  })
  it('knows that a time without a fraction is older than one with', () => {
    const list = [
      { rule_id: '2', priority: 1, created_at: '2026-01-01T00:00:00.5Z' },
      { rule_id: '1', priority: 1, created_at: '2026-01-01T00:00:00Z' },
      { rule_id: '3', priority: 1, created_at: '2026-01-01T00:00:00.25Z' },
    ]
    expect(inOrder(list).map(({ rule_id }) => rule_id)).toEqual(['1', '3', '2'])
  })
  it('is not changed in place', () => {
    const list = ['a', 'b', 'c']
    expect(moved(list, 0, 2)).toEqual(['b', 'c', 'a'])
    expect(moved(list, 2, -5)).toEqual(['c', 'a', 'b'])
    expect(list).toEqual(['a', 'b', 'c'])
  })
})

describe('a move', () => {
  it('changes nothing if nothing moves', () => expect(apply(rules(1, 2, 2, 9), 1, 1)).toEqual([]))
  it('changes the one that was moved', () => {
    expect(apply(rules(10, 20, 30), 2, 0)).toEqual(['c=5'])
    expect(apply(rules(10, 20, 30), 0, 2)).toEqual(['a=40'])
    expect(apply(rules(10, 100, 200), 2, 1)).toEqual(['c=50'])
    expect(apply(rules(100, 200), 1, 0)).toEqual(['b=90'])
  })
  it('of two neighbours changes the one that somebody took', () => {
    expect(apply(rules(10, 20), 0, 1)).toEqual(['a=30'])
    expect(apply(rules(10, 20), 1, 0)).toEqual(['b=5'])
  })
  it('uses age where priorities are the same', () => {
    expect(apply(rules(100, 100, 100), 2, 0)).toEqual(['c=90'])
    expect(apply(rules(100, 100, 100), 0, 2)).toEqual(['a=110'])
    // c is younger than b: b has to give way.
    expect(apply(rules(100, 100, 100), 2, 1)).toEqual(['b=110'])
  })
  it('finds room where there seems to be none', () => {
    // a is older than d: one priority will do for both.
    expect(apply(rules(1, 2, 3, 4), 3, 1)).toEqual(['d=1'])
    expect(apply(rules(1, 2, 3, 4), 0, 2)).toHaveLength(1)
    expect(apply(rules(1, 1, 1, 1), 3, 1)).toHaveLength(2)
  })
  it('goes below zero only if it has to', () => {
    expect(apply(rules(1, 5), 1, 0)).toEqual(['b=-10'])
    expect(apply(rules(2, 5), 1, 0)).toEqual(['b=0'])
  })
  it('stays within what a priority can be', () => {
    const [low, high] = [-2_147_483_648, 2_147_483_647]
    for (const [from, to] of [[2, 0], [0, 2], [1, 0], [1, 2]] as const) {
      const list = rules(low, 0, high)
      const changes = priorityChanges(moved(list, from, to), list[from]?.rule_id)
      expect(changes.every(({ priority }) => priority >= low && priority <= high)).toBe(true)
      apply(list, from, to)
    }
    expect(apply(rules(high, high), 0, 1)).toHaveLength(1)
  })
})

describe('of all moves', () => {
  /** The fewest changes, found by trying which rules keep their priorities. */
  function fewest(wanted: readonly RuleView[]): number {
    let best = wanted.length
    for (let mask = 0; mask < 1 << wanted.length; mask++) {
      const kept = wanted.map((rule, index) => ({ rule, index })).filter(({ index }) => mask & (1 << index))
      const fits = kept.every(({ rule, index }, place) => {
        const next = kept[place + 1]
        if (!next) return true
        let least = rule.priority
        for (let at = index + 1; at <= next.index; at++) least += (wanted[at - 1]?.created_at ?? '') < (wanted[at]?.created_at ?? '') ? 0 : 1
        return next.rule.priority >= least
      })
      if (fits) best = Math.min(best, wanted.length - kept.length)
    }
    return best
  }

  it('none changes more than it must, and all give the order', () => {
    let seed = 7
    const random = (below: number) => (seed = (seed * 48_271) % 2_147_483_647) % below
    for (let round = 0; round < 300; round++) {
      const list = inOrder(rules(...Array.from({ length: 2 + random(6) }, () => random(8) * (random(2) ? 1 : 25))))
      const [from, to] = [random(list.length), random(list.length)]
      expect(apply(list, from, to)).toHaveLength(fewest(moved(list, from, to)))
    }
  })
  it('a thousand rules are no matter', () => {
    const list = rules(...Array.from({ length: 1000 }, () => 100))
    const before = performance.now()
    expect(apply(list, 999, 0)).toEqual(['l999=90'])
    expect(performance.now() - before).toBeLessThan(3_000)
  })
})
