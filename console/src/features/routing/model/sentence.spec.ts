// @vitest-environment jsdom
import { beforeAll, describe, expect, it } from 'vitest'
import { i18n, useLanguage } from '@/app/i18n'
import { asSaid, conditionPieces, fieldText, phrase, sentence, textOf, whenPieces, type SaidRule, type Translate } from './sentence'

const t: Translate = (key, named) => i18n.global.t(key, named ?? {})
const rule = (part: Partial<SaidRule> = {}): SaidRule => ({ conditions: [], target_services: [], target_tags: [], ...part })

beforeAll(async () => {
  await useLanguage('en')
})

describe('in English', () => {
  it('a rule is a sentence', () => {
    const said = rule({
      conditions: [
        { field: 'header.x-tier', operator: 'equals', value: 'gold' },
        { field: 'client_ip', operator: 'ip_in_range', value: ['10.0.0.0/8'] },
      ],
      target_tags: ['gold'],
      target_strategy: 'least_connections',
      fallback_strategy: 'round_robin',
    })
    expect(sentence(t, said)).toBe('If header x-tier equals gold and client IP is in 10.0.0.0/8 → services tagged gold, by least connections; else round robin')
  })
  it('a rule of nothing is for everybody', () => expect(sentence(t, rule())).toBe('Every client → any service, by the default strategy'))
  it.each([
    [{ target_services: ['a', 'b', 'c'] }, 'a, b or c'],
    [{ target_tags: ['x', 'y'] }, 'services tagged x and y'],
    [{ target_tags: ['x', 'y'], tag_match: 'any' as const }, 'services tagged x or y'],
    [{ target_services: ['a'], target_tags: ['x'] }, 'a with tag x'],
    [{ target_services: ['a', 'b'], split: [{ service: 'a', percent: 90 }, { tag: 'c', percent: 10 }] }, '90% to a, 10% to tag c'],
  ])('%j goes to %s', (part, text) => expect(sentence(t, rule(part))).toContain(`→ ${text}, by`))
  it('many values are counted', () => {
    expect(textOf(conditionPieces(t, { field: 'path', operator: 'in_list', value: ['1', '2', '3', '4', '5', '6'] }))).toBe('path is one of 1, 2, 3, 4, 2 more')
  })
  it('what is not written yet has its place', () => {
    expect(textOf(conditionPieces(t, { field: 'header.', operator: 'in_list', value: [] }))).toBe('header … is one of …')
    expect(textOf(conditionPieces(t, { field: 'path', operator: 'equals', value: '' }))).toBe('path equals ""')
    expect(fieldText(t, '')).toBe('header or parameter …')
  })
  it('pieces that are looked for are marked', () => {
    expect(whenPieces(t, rule({ conditions: [{ field: 'path', operator: 'contains', value: 'x' }] }))).toEqual([
      { kind: 'text', text: 'If ' },
      { kind: 'field', text: 'path' },
      { kind: 'text', text: ' contains ' },
      { kind: 'value', text: 'x' },
    ])
  })
  it('a value with the signs of a text is left as it is', () => {
    expect(textOf(conditionPieces(t, { field: 'path', operator: 'equals', value: '{field} | @:x' }))).toBe('path equals {field} | @:x')
  })
})

it('a language may turn the order round', () => {
  const turned: Translate = (_key, named) => `${String(named?.b)} of ${String(named?.a)}`
  expect(textOf(phrase(turned, 'x', { a: [{ kind: 'value', text: '1' }], b: [{ kind: 'value', text: '2' }] }))).toBe('2 of 1')
})

it('what is written is said like what is there', () => {
  expect(asSaid({ name: 'a', priority: 1, enabled: true, allow_hint: true, target_tags: ['t'] })).toEqual({
    conditions: [], target_services: [], target_tags: ['t'], tag_match: 'all', target_strategy: null, fallback_strategy: null, split: [],
  })
})
