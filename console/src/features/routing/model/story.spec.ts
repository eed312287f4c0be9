import { describe, expect, it } from 'vitest'
import type { CandidateView, Explanation, RuleView } from '@/api/schema.gen'
import { textOf } from './sentence'
import { eligible, folded, fullness, poolReason, ruleSteps, sortCandidates } from './story'

const t = (key: string, named: Record<string, unknown> = {}) => [key.split('.').at(-1) === 'said' ? key.split('.').at(-2) : key, ...Object.values(named)].join(' ')
const explanation = (part: Partial<Explanation>): Explanation => ({ outcome: 'go', client_ip: '::1', rules: [], candidates: [], pool: 'rule', ...part })
const candidate = (instance: string, part: Partial<CandidateView> = {}): CandidateView => ({
  instance, service: 'a', state: 'eligible', active: 0, places: 0, max_places: 0, weight: 1, chosen: false, ...part,
})

describe('the pool', () => {
  it('has its reason, or a service that is not there', () => {
    expect(poolReason(explanation({ pool: 'tags' }))).toBe('tags')
    expect(poolReason(explanation({ pool: null }))).toBe('missing')
  })
})

describe('the rules', () => {
  const rules = [
    { rule_id: '1', name: 'a', priority: 1, outcome: 'condition_failed' as const, failed: { index: 0, field: 'header.x', operator: 'equals' as const, value: 'gold', actual: 'silver' } },
    { rule_id: '2', name: 'b', priority: 2, outcome: 'matched' as const },
  ]
  it('say what was wanted and what was there', () => {
    const [first] = ruleSteps(t, explanation({ rules }))
    expect(textOf(first?.wanted ?? [])).toContain('gold')
    expect(first).toMatchObject({ actual: 'silver', tone: 'idle', asked: true })
  })
  it('tell a field that is not there from an empty one', () => {
    const without = { ...rules[0], failed: { ...rules[0]?.failed, actual: undefined } }
    expect(ruleSteps(t, explanation({ rules: [without] as Explanation['rules'] }))[0]?.actual).toBeNull()
  })
  it('go on with those that nobody asked', () => {
    const all = [...rules, { rule_id: '3', name: 'c', priority: 3 }] as unknown as RuleView[]
    expect(ruleSteps(t, explanation({ rules }), all).map(({ name, asked }) => [name, asked])).toEqual([['a', true], ['b', true], ['c', false]])
    expect(ruleSteps(t, explanation({ rules: [] }), all)).toEqual([])
  })
  it('are folded when they are many, but for those that matter', () => {
    const many = Array.from({ length: 20 }, (_, index) => ({ ...rules[0], rule_id: String(index), name: String(index), outcome: index === 15 ? 'matched' : index === 10 ? 'no_member' : 'condition_failed' }))
    const steps = ruleSteps(t, explanation({ rules: many as Explanation['rules'] }))
    expect(folded(steps).shown.map(({ name }) => name)).toEqual(['0', '1', '2', '3', '10', '15'])
    expect(folded(steps).hidden).toBe(14)
    expect(folded(steps.slice(0, 8)).hidden).toBe(0)
  })
})

describe('the candidates', () => {
  it('begin with the chosen one', () => {
    const all = [candidate('a-10'), candidate('a-2'), candidate('b-0', { state: 'full' }), candidate('c-0', { chosen: true })]
    expect(sortCandidates(all).map(({ instance }) => instance)).toEqual(['c-0', 'a-2', 'a-10', 'b-0'])
    expect(eligible(all)).toBe(3)
  })
  it('are as full as their places', () => {
    expect(fullness({ places: 3, max_places: 4 })).toBe(0.75)
    expect(fullness({ places: 9, max_places: 4 })).toBe(1)
    expect(fullness({ places: 9, max_places: 0 })).toBeUndefined()
  })
})
