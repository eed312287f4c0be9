import { describe, expect, it } from 'vitest'
import type { NewRule } from '@/api/schema.gen'
import { commandLines, commandText, quote, whenText } from './cli'

const rule = (part: Partial<NewRule> = {}): NewRule => ({ name: 'gold', priority: 100, enabled: true, allow_hint: true, ...part })

describe('a word', () => {
  it.each([
    ['gold', 'gold'],
    ['a b', "'a b'"],
    ["it's", "'it'\\''s'"],
    ['', "''"],
    ['$HOME', "'$HOME'"],
    ['a;b', "'a;b'"],
    ['名', "'名'"],
    ['tag:a=10,b=90', 'tag:a=10,b=90'],
  ])('%s is written %s', (word, written) => expect(quote(word)).toBe(written))
})

describe('a condition', () => {
  it.each([
    [{ field: 'a', operator: 'exists' as const }, 'a exists'],
    [{ field: 'a', operator: 'equals' as const, value: 'x y' }, 'a equals x y'],
    [{ field: 'a', operator: 'in_list' as const, value: ['x', 'y'] }, 'a in_list x, y'],
    [{ field: 'a', operator: 'in_list' as const, value: ['x,1', 'y'] }, 'a in_list ["x,1","y"]'],
    [{ field: 'a', operator: 'in_list' as const, value: ['[x', 'y'] }, 'a in_list ["[x","y"]'],
  ])('%o', (condition, text) => expect(whenText(condition)).toBe(text))
})

describe('the command', () => {
  it('makes a rule of nothing but a name', () => expect(commandLines(rule())).toEqual(['myagent-manager route add gold']))
  it('says all that is not as by default', () => {
    const all = rule({
      name: 'my rule',
      priority: -5,
      enabled: false,
      allow_hint: false,
      description: 'for "us"',
      conditions: [{ field: 'header.x', operator: 'equals', value: "it's", case_sensitive: true }, { field: 'a', operator: 'not_exists' }],
      target_services: ['a', 'b'],
      target_tags: ['t', 'u'],
      tag_match: 'any',
      target_strategy: 'hash_based',
      fallback_strategy: 'manual',
      hash_key: 'cookie.user',
      split: [{ tag: 'canary', percent: 10 }, { service: 'a', percent: 90 }],
      weight: { a: 3, b: 1 },
    })
    expect(commandLines(all)).toEqual([
      "myagent-manager route add 'my rule'",
      "--when 'header.x equals it'\\''s'",
      "--when 'a not_exists'",
      '--case-sensitive',
      '--to a,b',
      '--to-tag t,u',
      '--any-tag',
      '--strategy hash_based',
      '--fallback manual',
      '--split tag:canary=10,a=90',
      '--hash-key cookie.user',
      '--weight a=3,b=1',
      '--priority -5',
      `--description 'for "us"'`,
      '--disabled',
      '--no-hint',
    ])
  })
  it('is one that can be pasted', () => {
    expect(commandText(rule({ target_tags: ['t'], priority: 3 }))).toBe('myagent-manager route add gold \\\n  --to-tag t \\\n  --priority 3')
  })
  it('takes what begins with a dash for what it is', () => {
    expect(commandLines(rule({ name: '-x', description: '-y' }))).toEqual(['myagent-manager route add', '--description=-y', '-- -x'])
  })
  it('goes by a file for what has no words', () => {
    const mixed = rule({ conditions: [{ field: 'a', operator: 'equals', value: 'A', case_sensitive: true }, { field: 'b', operator: 'equals', value: 'b' }] })
    expect(commandText(mixed)).toBe(`printf %s '${JSON.stringify(mixed)}' |\n  myagent-manager route add --file - gold`)
    expect(commandText(rule({ conditions: [{ field: 'a', operator: 'equals', value: '' }] }))).toContain('--file -')
    expect(commandText(rule({ target_tags: ['a,b'] }))).toContain('--file -')
    expect(commandText(rule({ conditions: [{ field: 'a', operator: 'equals', value: 'A', case_sensitive: true }, { field: 'b', operator: 'exists' }] }))).not.toContain('--file')
  })
})

describe('the command of a change', () => {
  const before = rule({ target_tags: ['t'], conditions: [{ field: 'a', operator: 'exists' }], description: 'x', priority: 5 })
  it('says only what changes', () => {
    expect(commandLines({ ...before, priority: 7 }, before)).toEqual(['myagent-manager route update gold', '--priority 7'])
    expect(commandLines({ ...before, priority: 100 }, before)).toEqual(['myagent-manager route update gold', '--priority 100'])
    expect(commandLines({ ...before, name: 'new' }, before)).toEqual(['myagent-manager route update gold', '--name new'])
  })
  it('sets back what is said no more', () => {
    const { conditions: _conditions, description: _description, ...after } = before
    expect(commandLines({ ...after, enabled: false }, before)).toEqual(['myagent-manager route update gold', '--disabled', '--unset conditions,description'])
    expect(commandLines(before, { ...before, enabled: false })).toEqual(['myagent-manager route update gold', '--unset enabled'])
  })
  it('names the tags with what is needed of them', () => {
    expect(commandLines({ ...before, tag_match: 'any' }, before)).toEqual(['myagent-manager route update gold', '--any-tag', '--to-tag t'])
  })
  it('shows the rule if nothing does', () => expect(commandLines(before, before)).toEqual(['myagent-manager route show gold']))
})
