/** A client that is only thought of: from the address of the page to what the API is asked. Pure. */
import type { ExplainRequest, NewRule } from '@/api/schema.gen'

interface Pair {
  name: string
  value: string
}

export interface Client {
  ip: string
  port: string
  /** Without the query. */
  path: string
  headers: Pair[]
  query: Pair[]
  cookies: Pair[]
}

export const newClient = (): Client => ({ ip: '127.0.0.1', port: '', path: '/', headers: [], query: [], cookies: [] })

const BROWSER = 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36'
const PHONE = 'Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1'

/** Clients to begin with. */
export const presets: Readonly<Record<'browser' | 'phone' | 'network' | 'service', () => Client>> = {
  browser: () => ({ ...newClient(), ip: '198.51.100.23', headers: [{ name: 'User-Agent', value: BROWSER }, { name: 'Accept-Language', value: 'en' }] }),
  phone: () => ({ ...newClient(), ip: '203.0.113.40', headers: [{ name: 'User-Agent', value: PHONE }] }),
  network: () => ({ ...newClient(), ip: '192.168.1.7' }),
  service: () => ({ ...newClient(), query: [{ name: 'service', value: '' }] }),
}

/** Each part as one text for the address: `name:value` by lines. */
export function writeClient(client: Client): Record<string, string> {
  const lines = (pairs: readonly Pair[]) => pairs.map(({ name, value }) => `${name}:${value}`).join('\n')
  const blank = newClient()
  const all = {
    ip: client.ip === blank.ip ? '' : client.ip,
    port: client.port,
    path: client.path === blank.path ? '' : client.path,
    headers: lines(client.headers),
    params: lines(client.query),
    cookies: lines(client.cookies),
  }
  return Object.fromEntries(Object.entries(all).filter(([, text]) => text !== ''))
}

export function readClient(query: Readonly<Record<string, unknown>>): Client {
  const text = (name: string) => (typeof query[name] === 'string' ? query[name] : '')
  const pairs = (name: string): Pair[] =>
    text(name) === ''
      ? []
      : text(name).split('\n').map((line) => {
          const colon = line.indexOf(':')
          return colon < 0 ? { name: line, value: '' } : { name: line.slice(0, colon), value: line.slice(colon + 1) }
        })
  const blank = newClient()
  return {
    ip: text('ip') || blank.ip,
    port: text('port'),
    path: text('path') || blank.path,
    headers: pairs('headers'),
    query: pairs('params'),
    cookies: pairs('cookies'),
  }
}

/** What the API is asked: the query goes into the path, the cookies into their header. Rows without a name say nothing. */
export function writeRequest(client: Client): ExplainRequest {
  const named = (pairs: readonly Pair[]) => pairs.filter(({ name }) => name.trim() !== '')
  const [path = '', ownQuery] = client.path.trim().split('?', 2)
  const query = named(client.query).map(({ name, value }) => `${encode(name.trim())}=${encode(value)}`)
  const whole = [ownQuery, ...query].filter(Boolean).join('&')
  // The first header of a name counts, as in a request; the record keeps the last.
  const headers = Object.fromEntries(named(client.headers).reverse().map(({ name, value }) => [name.trim().toLowerCase(), value.trim()]))
  const cookies = named(client.cookies).map(({ name, value }) => `${name.trim()}=${value}`)
  if (cookies.length > 0) headers.cookie = [headers.cookie, ...cookies].filter(Boolean).join('; ')
  const port = Number(client.port)
  return {
    client_ip: client.ip.trim(),
    client_port: Number.isInteger(port) ? port : 0,
    headers,
    path: `${path.startsWith('/') ? '' : '/'}${path.replaceAll(' ', '%20')}${whole === '' ? '' : `?${whole}`}`,
  }
}

const encode = (text: string) => encodeURIComponent(text).replaceAll('%2C', ',').replaceAll('%3A', ':')

/** A rule that takes this client: by what it has that others have not. */
export function ruleOf(client: Client): Partial<NewRule> {
  const dull = new Set(['accept', 'accept-encoding', 'accept-language', 'connection', 'upgrade', 'host', 'origin', 'cookie'])
  const of = (space: string, pairs: readonly Pair[]) =>
    pairs.filter(({ name }) => name.trim() !== '').map(({ name, value }) => ({ field: `${space}.${name.trim()}`, operator: 'equals' as const, value: value.trim() }))
  const conditions: NonNullable<NewRule['conditions']> = []
  if (client.ip.trim() !== newClient().ip) conditions.push({ field: 'client_ip', operator: 'ip_in_range', value: [client.ip.trim()] })
  if (client.path.trim() !== '/' && client.path.trim() !== '') conditions.push({ field: 'path', operator: 'starts_with', value: client.path.trim().split('?')[0] ?? '' })
  for (const condition of of('header', client.headers)) {
    const name = condition.field.slice('header.'.length).toLowerCase()
    if (name === 'user-agent') conditions.push({ field: 'user_agent', operator: 'contains', value: /Mobile/.test(condition.value) ? 'Mobile' : condition.value })
    else if (!dull.has(name)) conditions.push({ ...condition, field: `header.${name}` })
  }
  const routed = new Set(['service', 'tag', 'session_id', 'routing_hint'])
  conditions.push(...of('query', client.query.filter(({ name }) => !routed.has(name.trim()))), ...of('cookie', client.cookies))
  return { conditions }
}
