import { describe, expect, it } from 'vitest'
import { conditionFaults, conditionHint, faultsOf, placeOf, sortErrors } from './check'
import { newCondition, type ConditionForm } from './condition'
import { emptyForm } from './form'

const condition = (part: Partial<ConditionForm>): ConditionForm => ({ ...newCondition(), name: 'x', text: 'a', ...part })
const faults = (part: Partial<ConditionForm>) => Object.fromEntries(Object.entries(conditionFaults(condition(part))).map(([place, { key }]) => [place, key]))

describe('a condition', () => {
  it('that is right has no fault', () => {
    expect(faults({})).toEqual({})
    expect(faults({ text: '' })).toEqual({})
    expect(faults({ kind: 'client_ip', name: '', operator: 'ip_in_range', list: ['10.0.0.0/8'] })).toEqual({})
    expect(faults({ operator: 'exists', text: '', list: [] })).toEqual({})
  })
  it('needs its name', () => {
    expect(faults({ name: ' ' })).toEqual({ field: 'fieldName' })
    expect(faults({ name: 'a b' })).toEqual({ field: 'spaces' })
    expect(faults({ kind: 'path', name: '' })).toEqual({})
  })
  it('needs values that fit', () => {
    expect(faults({ operator: 'in_list' })).toEqual({ value: 'emptyList' })
    expect(conditionFaults(condition({ operator: 'ip_in_range', list: ['10.0.0.1', '10.0.0.0/40'] })).value).toEqual({ key: 'network', named: { text: '10.0.0.0/40' } })
  })
  it.each([
    ['^v[23]$', {}],
    ['(?i)abc', {}],
    ['(?P<name>a)', {}],
    ['(?:a|b)+', {}],
    ['(', { value: 'regex' }],
    ['a{2,1}', { value: 'regex' }],
    ['(?=a)', { value: 'regex' }],
    ['(?<!a)b', { value: 'regex' }],
    ['', { value: 'emptyRegex' }],
  ])('matches %s', (text, expected) => expect(faults({ operator: 'regex_match', text })).toEqual(expected))
  it('may do something else than was meant', () => {
    expect(conditionHint(condition({ kind: 'tag' }))).toBe('naming')
    expect(conditionHint(condition({ operator: 'regex_match' }))).toBe('regexSearch')
    expect(conditionHint(condition({}))).toBeUndefined()
  })
})

describe('a rule', () => {
  it('needs a name, and all else right', () => {
    const form = {
      ...emptyForm(),
      priority: 1.5,
      hashKey: 'a b',
      conditions: [condition({}), condition({ name: '' })],
      split: [{ kind: 'tag' as const, name: '', percent: 50 }, { kind: 'tag' as const, name: 'b', percent: 40 }],
    }
    expect(faultsOf(form)).toEqual({
      name: { key: 'name' },
      priority: { key: 'priority' },
      hash_key: { key: 'spaces' },
      'conditions[1].field': { key: 'fieldName' },
      split: { key: 'total', named: { total: 90 } },
      'split[0]': { key: 'part' },
    })
    expect(faultsOf({ ...emptyForm(), name: 'a' })).toEqual({})
    expect(faultsOf({ ...emptyForm(), name: 'a', priority: '' as unknown as number })).toHaveProperty('priority')
  })
})

describe('an error of the API', () => {
  const form = { conditions: [condition({})], split: [{ kind: 'tag' as const, name: 'a', percent: 100 }] }
  it.each([
    ['conditions[0].value', 'conditions[0].value'],
    ['conditions[0].value[2]', 'conditions[0].value'],
    ['conditions[0].operator', 'conditions[0].operator'],
    ['conditions[0]', 'conditions[0].value'],
    ['conditions[1].value', undefined],
    ['conditions', undefined],
    ['split[0].tag', 'split[0]'],
    ['split[3]', undefined],
    ['split', 'split'],
    ['target_services[2]', 'target_services'],
    ['weight.a', 'weight'],
    ['colour', undefined],
  ])('at %s stands at %s', (field, place) => expect(placeOf(field, form)).toBe(place))

  it('is told beside its field, or above all', () => {
    const errors = [{ field: 'name', message: 'a' }, { field: 'name', message: 'b' }, { field: 'colour', message: 'c' }]
    expect(sortErrors(errors, form)).toEqual({ placed: { name: 'a; b' }, rest: [{ field: 'colour', message: 'c' }] })
  })
})
