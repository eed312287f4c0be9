import { describe, expect, it } from 'vitest'
import { newClient, presets, readClient, ruleOf, writeClient, writeRequest, type Client } from './client'
import { explainCommand } from './explainCommand'

const client = (part: Partial<Client> = {}): Client => ({ ...newClient(), ...part })
const busy = client({
  ip: '10.0.0.7',
  port: '50000',
  path: '/chat',
  headers: [{ name: 'X-Tier', value: 'a:b' }, { name: 'User-Agent', value: 'x Mobile y' }],
  query: [{ name: 'q', value: 'a b&c' }, { name: 'tag', value: 'v2' }],
  cookies: [{ name: 'plan', value: 'pro' }, { name: 'u', value: '1' }],
})

describe('a client', () => {
  it('is in the address as it was written', () => expect(readClient(writeClient(busy))).toEqual(busy))
  it('of nothing special is not there', () => expect(writeClient(newClient())).toEqual({}))
  it('is read from anything', () => {
    expect(readClient({ ip: ['a'], headers: 'no colon', port: null })).toEqual(client({ headers: [{ name: 'no colon', value: '' }] }))
  })
  it.each(Object.entries(presets))('may be %s', (_, make) => expect(readClient(writeClient(make()))).toEqual(make()))
})

describe('what is asked', () => {
  it('has the query in the path and the cookies in their header', () => {
    expect(writeRequest(busy)).toEqual({
      client_ip: '10.0.0.7',
      client_port: 50_000,
      path: '/chat?q=a%20b%26c&tag=v2',
      headers: { 'x-tier': 'a:b', 'user-agent': 'x Mobile y', cookie: 'plan=pro; u=1' },
    })
  })
  it('takes a path as people write it', () => {
    expect(writeRequest(client({ path: 'a b?x=1', query: [{ name: 'y', value: '2' }] })).path).toBe('/a%20b?x=1&y=2')
    expect(writeRequest(client({ path: '' })).path).toBe('/')
  })
  it('leaves rows without a name out, and takes the first of two', () => {
    const headers = [{ name: '', value: 'x' }, { name: 'A', value: '1' }, { name: 'a', value: '2' }]
    expect(writeRequest(client({ headers, query: [{ name: ' ', value: 'x' }], port: 'x' }))).toEqual({ client_ip: '127.0.0.1', client_port: 0, path: '/', headers: { a: '1' } })
  })
  it('joins cookies with a header that is there', () => {
    expect(writeRequest(client({ headers: [{ name: 'Cookie', value: 'a=1' }], cookies: [{ name: 'b', value: '2' }] })).headers.cookie).toBe('a=1; b=2')
  })
  it('may be a command', () => {
    expect(explainCommand(writeRequest(newClient()))).toBe('myagent-manager route explain')
    expect(explainCommand({ client_ip: '10.0.0.7', client_port: 5, path: '/?tag=a', headers: { x: "it's" } })).toBe(
      "myagent-manager route explain '/?tag=a' \\\n  --ip 10.0.0.7 \\\n  --port 5 \\\n  --header 'x: it'\\''s'",
    )
  })
})

describe('a rule for a client', () => {
  it('looks at what is special about it', () => {
    expect(ruleOf(busy).conditions).toEqual([
      { field: 'client_ip', operator: 'ip_in_range', value: ['10.0.0.7'] },
      { field: 'path', operator: 'starts_with', value: '/chat' },
      { field: 'header.x-tier', operator: 'equals', value: 'a:b' },
      { field: 'user_agent', operator: 'contains', value: 'Mobile' },
      { field: 'query.q', operator: 'equals', value: 'a b&c' },
      { field: 'cookie.plan', operator: 'equals', value: 'pro' },
      { field: 'cookie.u', operator: 'equals', value: '1' },
    ])
  })
  it('of nothing special is for everybody', () => expect(ruleOf(client({ headers: [{ name: 'Accept', value: '*' }] })).conditions).toEqual([]))
})
