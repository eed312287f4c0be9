import { describe, expect, it } from 'vitest'
import type { Condition } from '@/api/schema.gen'
import { clientFor, unstoredFields } from './unstored'

const words = (key: string, named?: Record<string, unknown>) => [key, named?.name].filter(Boolean).join(' ')
const rule = (...conditions: Condition[]) => ({ conditions })
const equals = (field: string, value: string): Condition => ({ field, operator: 'equals', value })

describe('what is not kept of a connection', () => {
  it('are headers, the query, cookies, path and host, each told once', () => {
    const conditions = ['header.x-tier', 'query.v', 'cookie.c', 'path', 'host', 'x-bare', 'header.x-tier'].map((field) => equals(field, 'a'))
    expect(unstoredFields(words, rule(...conditions))).toEqual([
      'routing.fields.header.said x-tier', 'routing.fields.query.said v', 'routing.fields.cookie.said c',
      'routing.fields.path.said', 'routing.fields.host.said', 'routing.fields.other.said x-bare',
    ])
  })
  it('is not the address, the User-Agent in either way of writing, or what names something', () => {
    const conditions = ['client_ip', 'client_port', 'user_agent', 'header.User-Agent', 'session_id', 'service', 'tag'].map((field) => equals(field, 'a'))
    expect(unstoredFields(words, rule(...conditions))).toEqual([])
    expect(unstoredFields(words, {})).toEqual([])
  })
})

describe('the client to ask about', () => {
  it('has what the conditions want', () => {
    const client = clientFor(rule(
      equals('header.x-tier', 'gold'), { field: 'query.v', operator: 'in_list', value: ['2', '3'] }, equals('cookie.c', '1'), equals('path', '/chat'),
      equals('host', 'a.example'), equals('user_agent', 'curl'), equals('client_ip', '10.0.0.1'), equals('tag', 'x'),
    ))
    expect(client).toEqual({
      ip: '10.0.0.1', port: '', path: '/chat',
      headers: [{ name: 'x-tier', value: 'gold' }, { name: 'Host', value: 'a.example' }, { name: 'User-Agent', value: 'curl' }],
      query: [{ name: 'v', value: '2' }], cookies: [{ name: 'c', value: '1' }],
    })
  })
  it('leaves to be filled in what no single value says', () => {
    const client = clientFor(rule({ field: 'header.x-tier', operator: 'regex_match', value: '^g' }, { field: 'path', operator: 'starts_with', value: '/a' }))
    expect(client).toMatchObject({ path: '/', headers: [{ name: 'x-tier', value: '' }] })
  })
})
