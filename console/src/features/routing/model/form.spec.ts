import { describe, expect, it } from 'vitest'
import { draft } from './draft'
import { beginSplit, emptyForm, evenly, examples, readRule, same, shareTotal, usesHashKey, writeRule } from './form'
import { reach } from './reach'
import { newKey } from '@/api/newKey'
import type { RuleView } from '@/api/schema.gen'

const whole = {
  name: 'all',
  description: 'x',
  priority: -3,
  enabled: false,
  allow_hint: false,
  conditions: [{ field: 'header.x', operator: 'equals' as const, value: 'a' }],
  target_services: ['b', 'a'],
  target_tags: ['t'],
  tag_match: 'any' as const,
  target_strategy: 'hash_based' as const,
  fallback_strategy: 'manual' as const,
  hash_key: 'cookie.u',
  split: [{ service: 'a', percent: 40 }, { tag: 't', percent: 60 }],
  weight: { a: 2, b: 1 },
}

describe('the form', () => {
  it('says all that the rule says', () => expect(writeRule(readRule(whole))).toEqual(whole))
  it('says nothing of what is as by default', () => {
    expect(writeRule({ ...emptyForm(), name: ' a ' })).toEqual({ name: 'a', priority: 100, enabled: true, allow_hint: true })
  })
  it('reads what the API leaves out', () => expect(readRule({ name: 'a' })).toEqual({ ...emptyForm(), name: 'a' }))
  it('shares nothing with the rule it was read from', () => {
    const form = readRule(whole)
    form.services.push('c')
    expect(whole.target_services).toEqual(['b', 'a'])
  })
  it('forgets weights of services that are no targets', () => {
    expect(writeRule({ ...emptyForm(), services: ['a'], weight: { a: 2, gone: 1 } }).weight).toEqual({ a: 2 })
    expect(writeRule({ ...emptyForm(), services: ['a'], weight: { gone: 1 } }).weight).toBeUndefined()
    expect(writeRule({ ...emptyForm(), weight: 3 }).weight).toBe(3)
  })
  it('knows whether something changed', () => {
    expect(same(readRule(whole), readRule(whole))).toBe(true)
    expect(same(readRule(whole), { ...readRule(whole), services: ['a', 'b'] })).toBe(false)
  })
  it('asks for the hash key where one counts', () => {
    expect(usesHashKey(emptyForm())).toBe(false)
    expect(usesHashKey({ ...emptyForm(), fallback: 'hash_based' })).toBe(true)
    expect(usesHashKey({ ...emptyForm(), split: [{ kind: 'tag', name: 'a', percent: 100 }] })).toBe(true)
  })
})

describe('shares', () => {
  it('of one size add up', () => {
    const three = evenly([1, 2, 3].map((n) => ({ kind: 'tag', name: String(n), percent: 0 })))
    expect(three.map(({ percent }) => percent)).toEqual([34, 33, 33])
    expect(shareTotal(three)).toBe(100)
    expect(evenly([])).toEqual([])
  })
  it('begin with the targets, and are two at least', () => {
    expect(beginSplit({ services: ['a', 'b'], tags: ['t'] }).map(({ name }) => name)).toEqual(['a', 'b'])
    expect(beginSplit({ services: [], tags: ['t'] })).toEqual([{ kind: 'tag', name: 't', percent: 50 }, { kind: 'service', name: '', percent: 50 }])
  })
  it('without numbers count as nothing', () => expect(shareTotal([{ kind: 'tag', name: '', percent: Number.NaN }])).toBe(0))
})

describe('a draft', () => {
  const texts = { exampleName: (id: string) => id, copyName: (name: string) => `${name} copy` }
  const rules = [{ name: 'gold', priority: 3, target_tags: ['t'] }, { name: 'gold copy' }, { name: 'vip' }] as unknown as RuleView[]

  it('is empty by itself', () => expect(draft({}, rules, texts)).toEqual(emptyForm()))
  it.each(examples.map(({ id }) => id))('may be the example %s', (id) => expect(draft({ example: id }, [], texts).name).toBe(id))
  it('takes a free name', () => {
    expect(draft({ example: 'vip' }, rules, texts).name).toBe('vip 2')
    expect(draft({ copy: 'gold' }, rules, texts)).toMatchObject({ name: 'gold copy 2', priority: 3, tags: ['t'] })
  })
  it('of nothing known is empty', () => expect(draft({ copy: 'no', example: 'no' }, rules, texts)).toEqual(emptyForm()))
  it('may be for a client', () => expect(draft({ client: '1', ip: '10.0.0.7' }, rules, texts).conditions).toMatchObject([{ kind: 'client_ip', list: ['10.0.0.7'] }]))
})

describe('reach', () => {
  const services = [
    { name: 'a', service_id: '1', tags: ['x', 'y'] },
    { name: 'b', service_id: '2', tags: ['x'] },
    { name: 'c', service_id: '3', tags: [] },
  ]
  const reached = (form: Partial<Parameters<typeof reach>[0]>) => reach({ ...emptyForm(), ...form }, services).map(({ name }) => name)

  it('is everybody without targets', () => expect(reached({})).toEqual(['a', 'b', 'c']))
  it('is by name, id and tags together', () => {
    expect(reached({ services: ['c', '2', 'gone'] })).toEqual(['b', 'c'])
    expect(reached({ tags: ['x', 'y'] })).toEqual(['a'])
    expect(reached({ tags: ['x', 'y'], tagMatch: 'any' })).toEqual(['a', 'b'])
    expect(reached({ services: ['b', 'c'], tags: ['x'] })).toEqual(['b'])
  })
  it('is by the parts of a split', () => {
    expect(reached({ split: [{ kind: 'tag', name: 'y', percent: 50 }, { kind: 'service', name: 'c', percent: 50 }] })).toEqual(['a', 'c'])
  })
})

it('keys differ', () => {
  expect(newKey()).toMatch(/^[\da-f]{32}$/)
  expect(newKey()).not.toBe(newKey())
})
