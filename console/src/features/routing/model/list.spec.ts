import { describe, expect, it } from 'vitest'
import type { RuleView } from '@/api/schema.gen'
import { filterRules, freeName, isFiltered, shadowedBy } from './list'

const rule = (name: string, part: Partial<RuleView> = {}) =>
  ({ rule_id: name, name, description: '', enabled: true, conditions: [], target_services: [], target_tags: [], ...part }) as unknown as RuleView
const one = { field: 'header.x-tier', operator: 'equals' as const, value: 'Gold' }

describe('a search', () => {
  const rules = [rule('a', { conditions: [one] }), rule('b', { target_tags: ['gold'], enabled: false }), rule('c', { description: 'Everybody' })]
  const found = (search: string, enabled = '') => filterRules(rules, { search, enabled }).map(({ name }) => name)

  it('finds what a rule says', () => {
    expect(found('gold')).toEqual(['a', 'b'])
    expect(found('x-tier GOLD')).toEqual(['a'])
    expect(found('everybody')).toEqual(['c'])
    expect(found('')).toEqual(['a', 'b', 'c'])
  })
  it('may be for those that are on', () => {
    expect(found('', 'yes')).toEqual(['a', 'c'])
    expect(found('gold', 'no')).toEqual(['b'])
  })
  it('of nothing is none', () => {
    expect(isFiltered({ search: ' ', enabled: '' })).toBe(false)
    expect(isFiltered({ search: '', enabled: 'no' })).toBe(true)
  })
})

describe('below a rule for everybody', () => {
  it('nobody is asked', () => expect([...shadowedBy([rule('a', { conditions: [one] }), rule('b'), rule('c'), rule('d', { conditions: [one] })])]).toEqual([['c', 'b'], ['d', 'b']]))
  it('all are, if it is off or leads nowhere', () => {
    expect(shadowedBy([rule('a', { enabled: false }), rule('b', { conditions: [one] })]).size).toBe(0)
    expect(shadowedBy([rule('a', { warnings: ['x'] }), rule('b', { conditions: [one] })]).size).toBe(0)
  })
  it('one that is off misses nothing', () => expect(shadowedBy([rule('a'), rule('b', { enabled: false })]).size).toBe(0))
})

it.each([
  ['a', [], 'a'],
  ['a', ['a'], 'a 2'],
  ['a 2', ['a', 'a 2', 'a 3'], 'a 4'],
])('%s beside %j is called %s', (name, taken, free) => expect(freeName(name, taken)).toBe(free))
