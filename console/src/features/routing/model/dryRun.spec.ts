import { describe, expect, it } from 'vitest'
import type { DryRunSample, NewRule } from '@/api/schema.gen'
import { dryRunRequest, groupSamples, losers, partsOf } from './dryRun'

const rule: NewRule = { name: '', priority: 100, enabled: true, allow_hint: true }
const sample = (part: Partial<DryRunSample> = {}): DryRunSample => ({
  connection_id: 'c', client_ip: '10.0.0.1', service: 'a', outcome: 'matched', moves: false, because: 'all its conditions hold', ...part,
})

describe('what is asked', () => {
  it('may have no name yet', () => {
    expect(dryRunRequest(rule, { name: { key: 'name' } }, 'New rule')).toEqual({ rule: { ...rule, name: 'New rule' } })
    expect(dryRunRequest({ ...rule, name: 'a' }, {}, 'New rule', 'id')).toEqual({ rule: { ...rule, name: 'a' }, replaces: 'id' })
  })
  it('has nothing else wrong', () => expect(dryRunRequest(rule, { split: { key: 'total' } }, 'x')).toBeUndefined())
})

describe('the parts', () => {
  it('are all connections', () => {
    expect(partsOf({ connections: 42, matched: 12, undecided: 5 })).toEqual([{ kind: 'matched', n: 12 }, { kind: 'undecided', n: 5 }, { kind: 'rest', n: 25 }])
  })
  it('that nobody is in are left out', () => {
    expect(partsOf({ connections: 3, matched: 3, undecided: 0 })).toEqual([{ kind: 'matched', n: 3 }])
    expect(partsOf({ connections: 0, matched: 0, undecided: 0 })).toEqual([])
  })
  it('by service begin with the most', () => {
    expect(losers({ by_service: { b: 1, a: 1, c: 5 } }).map(({ service }) => service)).toEqual(['c', 'a', 'b'])
  })
})

describe('samples', () => {
  it('of one fate are one', () => {
    const groups = groupSamples([sample(), sample({ client_ip: '10.0.0.2' }), sample(), sample({ service: 'b' })])
    expect(groups.map(({ n, clients }) => [n, clients])).toEqual([[3, ['10.0.0.1', '10.0.0.2']], [1, ['10.0.0.1']]])
  })
  it('begin with those that move', () => {
    const groups = groupSamples([sample({ outcome: 'not_matched' }), sample({ outcome: 'undecided' }), sample(), sample({ outcome: 'not_matched', moves: true })])
    expect(groups.map(({ sample: { outcome, moves } }) => `${outcome} ${String(moves)}`)).toEqual(['not_matched true', 'matched false', 'undecided false', 'not_matched false'])
  })
})
