import { describe, expect, it } from 'vitest'
import { caseMatters, exampleOf, fieldGroups, fieldKinds, isNamed, newCondition, operators, readCondition, readField, splitList, valueKind, valuesOf, withKind, withOperator, writeCondition, writeField } from './condition'

describe('a field', () => {
  it.each([
    ['client_ip', { kind: 'client_ip', name: '' }],
    ['Client_IP', { kind: 'client_ip', name: '' }],
    ['header.X-Tier', { kind: 'header', name: 'X-Tier' }],
    ['Query.a.b', { kind: 'query', name: 'a.b' }],
    ['cookie.plan', { kind: 'cookie', name: 'plan' }],
    ['x-tier', { kind: 'other', name: 'x-tier' }],
    ['header', { kind: 'other', name: 'header' }],
    ['other', { kind: 'other', name: 'other' }],
    ['user.name', { kind: 'other', name: 'user.name' }],
  ] as const)('%s is read', (field, parts) => expect(readField(field)).toEqual(parts))

  it.each(['client_ip', 'header.x', 'query.a.b', 'cookie.c', 'x-tier', 'session_id'])('%s is written as it was', (field) => expect(writeField(readField(field))).toBe(field))
  it('is written without spaces around', () => expect(writeField({ kind: 'header', name: ' x ' })).toBe('header.x'))
  it('has a name only where one says something', () => expect(fieldKinds.filter(isNamed)).toEqual(['header', 'query', 'cookie', 'other']))
  it('is offered, each kind once', () => expect(fieldGroups.flatMap(({ kinds }) => kinds).sort()).toEqual([...fieldKinds].sort()))
})

describe('a value', () => {
  it('suits its operator', () => {
    expect(operators.map(valueKind)).toEqual(['text', 'text', 'text', 'text', 'text', 'text', 'list', 'list', 'networks', 'regex', 'none', 'none'])
    expect(operators.filter((operator) => !caseMatters(operator))).toEqual(['ip_in_range', 'exists', 'not_exists'])
    expect(operators.filter((operator) => exampleOf[operator] === undefined)).toEqual(['exists', 'not_exists'])
  })
  it.each([
    ['equals', 'a, b', ['a, b']],
    ['equals', 5, ['5']],
    ['equals', true, ['true']],
    ['equals', null, []],
    ['in_list', 'a, b,', ['a', 'b']],
    ['in_list', '["a, b", "c"]', ['a, b', 'c']],
    ['in_list', [1, 'x'], ['1', 'x']],
    ['ip_in_range', '10.0.0.0/8', ['10.0.0.0/8']],
    ['exists', 'x', []],
  ] as const)('of %s, %j', (operator, value, texts) => expect(valuesOf(operator, value)).toEqual(texts))
  it('that only looks like JSON is a text', () => expect(splitList('[a, b')).toEqual(['[a', 'b']))
})

describe('a condition', () => {
  it.each([
    { field: 'header.x', operator: 'equals', value: 'a' },
    { field: 'header.x', operator: 'equals', value: 'a', case_sensitive: true },
    { field: 'client_ip', operator: 'ip_in_range', value: ['10.0.0.0/8', '::1'] },
    { field: 'cookie.a', operator: 'exists' },
    { field: 'path', operator: 'regex_match', value: '^/a' },
  ] as const)('%j is written as it was read', (condition) => expect(writeCondition(readCondition({ ...condition, value: 'value' in condition ? condition.value : undefined }))).toEqual(condition))

  it('says nothing of case where there is none', () => {
    expect(writeCondition({ ...newCondition(), name: 'x', operator: 'exists', caseSensitive: true })).toEqual({ field: 'header.x', operator: 'exists' })
  })
  it('keeps what was written when its operator changes', () => {
    const text = { ...newCondition(), text: 'a, b' }
    const list = withOperator(text, 'in_list')
    expect(list.list).toEqual(['a', 'b'])
    expect(withOperator(list, 'equals').text).toBe('a, b')
    expect(withOperator({ ...list, text: '' }, 'contains').text).toBe('a')
    expect(withOperator({ ...list, list: ['z'] }, 'ip_in_range').list).toEqual(['z'])
  })
  it('of an address begins with networks', () => {
    expect(withKind(newCondition(), 'client_ip').operator).toBe('ip_in_range')
    expect(withKind({ ...newCondition(), text: '10.0.0.1' }, 'client_ip').operator).toBe('equals')
    expect(withKind(withKind(newCondition(), 'client_ip'), 'path').operator).toBe('equals')
  })
})
