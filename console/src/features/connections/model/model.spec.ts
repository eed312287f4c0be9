import { describe, expect, it } from 'vitest'
import type { ConnectionStats, ConnectionView } from '@/api/schema.gen'
import { begun, closeAll, counted, isCloseCode, isReason, type Progress } from './bulk'
import { asGroup, asRange, barsOf, OTHERS } from './distribution'
import { addressKey, choices, filterRows, NONE, noFilter, refreshMs, rowsOf, serviceOfInstance, sortRows, stillOpen } from './list'
import { linesOf } from './series'

function connection(id: string, more: Partial<ConnectionView> = {}): ConnectionView {
  return {
    connection_id: id,
    session_id: null,
    client_ip: '10.0.0.1',
    client_port: 5000,
    user_agent: 'curl',
    target_service_id: 'w',
    instance: 'weather-0',
    routing_strategy: 'round_robin',
    rule: null,
    status: 'active',
    connected_at: '2026-01-01T00:00:00Z',
    last_activity: '2026-01-01T00:00:00Z',
    bytes_sent: 1,
    bytes_received: 2,
    message_count: 3,
    ...more,
  }
}

const names = new Map([['w', 'weather'], ['t', 'trip-2']])
const rows = rowsOf(
  [
    connection('a', { client_ip: '10.0.0.10', rule: 'mobile', session_id: 'S-77' }),
    connection('b', { client_ip: '10.0.0.9', target_service_id: 't', instance: 'trip-2-1', status: 'idle', message_count: 9, connected_at: '2026-01-01T00:00:05Z' }),
    connection('c', { target_service_id: 'gone', instance: 'old-3', routing_strategy: null, user_agent: null, bytes_sent: 100, last_activity: '2026-01-02T00:00:00Z' }),
  ],
  names,
)
const ids = (found: readonly { connection_id: string }[]) => found.map((row) => row.connection_id).join('')

describe('rows', () => {
  it('have the names of their services, or of their instances', () => {
    expect(rows.map(({ service }) => service)).toEqual(['weather', 'trip-2', 'old'])
    expect([serviceOfInstance('a-b-12'), serviceOfInstance('plain')]).toEqual(['a-b', 'plain'])
  })

  it.each([
    [{ search: '10.0.0.9' }, 'b'],
    [{ search: 's-77 WEATHER' }, 'a'],
    [{ search: ':5000' }, 'abc'],
    [{ search: 'nothing' }, ''],
    [{ service: 'trip-2' }, 'b'],
    [{ status: 'idle' }, 'b'],
    [{ rule: 'mobile' }, 'a'],
    [{ rule: NONE }, 'bc'],
    [{ instance: 'old-3' }, 'c'],
    [{ strategy: 'direct' }, 'c'],
    [{ strategy: 'round_robin', status: 'active' }, 'a'],
    [{}, 'abc'],
  ])('%j finds "%s"', (filter, found) => {
    expect(ids(filterRows(rows, { ...noFilter, ...filter }))).toBe(found)
  })

  it.each([
    ['client', 'cba'],
    ['-client', 'abc'],
    ['service', 'cba'],
    ['age', 'bca'],
    ['-age', 'cab'],
    ['-messages', 'bca'],
    ['-traffic', 'cba'],
    ['-activity', 'cba'],
    ['status', 'cab'],
    ['rule', 'cba'],
    ['instance', 'cba'],
    ['constructor', 'bca'],
  ])('by %s are %s', (sort, order) => {
    expect(ids(sortRows(rows, sort))).toBe(order)
  })

  it('know that ten is more than nine', () => {
    expect(addressKey('10.0.0.9') < addressKey('10.0.0.10')).toBe(true)
  })

  it('give choices, and what is chosen stays one', () => {
    expect(choices(rows, ({ service }) => service, 'zebra')).toEqual(['old', 'trip-2', 'weather', 'zebra'])
    expect(choices([], ({ service }) => service, '')).toEqual([])
  })

  it('leave the selection when they close', () => {
    const all = new Set(['a', 'b'])
    expect(stillOpen(all, rows)).toBe(all)
    expect([...stillOpen(new Set(['a', 'x']), rows)]).toEqual(['a'])
  })

  it('are asked for less often when they are many', () => {
    expect([refreshMs(0), refreshMs(1_000), refreshMs(1_001)]).toEqual([2_000, 2_000, 5_000])
  })

  it('are found quickly among ten thousand', () => {
    const many = rowsOf(Array.from({ length: 10_000 }, (_, n) => connection(`id-${n}`, { client_port: n })), names)
    filterRows(many, { ...noFilter, search: 'x' })
    const before = performance.now()
    expect(sortRows(filterRows(many, { ...noFilter, search: 'id-99' }), 'client')).toHaveLength(111)
    expect(performance.now() - before).toBeLessThan(100)
  })
})

describe('distribution', () => {
  const words = { others: (n: number) => `${n} others`, direct: 'own port' }
  const stats = (more: Partial<ConnectionStats>): ConnectionStats => ({ total_connections: 0, by_status: {}, by_service: {}, by_instance: {}, by_strategy: {}, by_rule: {}, rules: {}, ...more })

  it('has the largest first, and no empty bars', () => {
    expect(barsOf(stats({ by_service: { b: 1, a: 1, c: 5, d: 0 } }), 'service', words).map(({ key }) => key)).toEqual(['c', 'a', 'b'])
    expect(barsOf(stats({ by_strategy: { direct: 2 } }), 'strategy', words)).toEqual([{ key: 'direct', label: 'own port', value: 2 }])
  })

  it('puts the rest together', () => {
    const bars = barsOf(stats({ by_instance: Object.fromEntries(Array.from({ length: 9 }, (_, n) => [`i-${n}`, n + 1])) }), 'instance', words)
    expect(bars).toHaveLength(6)
    expect(bars.at(-1)).toEqual({ key: OTHERS, label: '4 others', value: 1 + 2 + 3 + 4 })
  })

  it('takes what the address says, if it is something', () => {
    expect([asGroup('rule'), asGroup('x'), asRange('6h'), asRange('x')]).toEqual(['rule', 'service', '6h', '1h'])
  })
})

describe('over time', () => {
  const word = (n: number) => `${n} others`

  it('has a line for each service, and gaps', () => {
    const lines = linesOf({ all: [[1, 9]], largest: [{ service: 'a', points: [[1, 5]] }, { service: 'b', points: [[1, 2], [2, null]] }], others: 0 }, word)
    expect(lines).toEqual([{ name: 'a', points: [[1_000, 5]] }, { name: 'b', points: [[1_000, 2], [2_000, null]] }])
  })

  it('makes one line of what has none of its own', () => {
    const largest = [{ service: 'a', points: [[1, 5], [2, null], [3, 4], [4, null]] }, { service: 'b', points: [[1, 2], [2, 1], [3, 3], [4, null]] }]
    const lines = linesOf({ all: [[1, 10], [2, 4], [3, 6], [4, null]], largest, others: 7 }, word)
    expect(lines.map(({ name }) => name)).toEqual(['a', 'b', '7 others'])
    expect(lines.at(-1)?.points).toEqual([[1_000, 3], [2_000, 3], [3_000, 0], [4_000, null]])
  })
})

describe('closing many', () => {
  it('counts what came of each', () => {
    expect(counted(counted(begun(2), 'closed'), 'failed', 'no')).toEqual({ total: 2, done: 2, outcomes: { closed: 1, pending: 0, gone: 0, failed: 1 }, problem: 'no' })
  })

  it('closes a few at a time, all of them', async () => {
    let now = 0
    let most = 0
    const seen: Progress[] = []
    const result = await closeAll(
      Array.from({ length: 30 }, (_, n) => String(n)),
      async (id) => {
        now += 1
        most = Math.max(most, now)
        await Promise.resolve()
        now -= 1
        return { outcome: id === '3' ? 'gone' : 'closed' }
      },
      (progress) => seen.push(progress),
    )
    expect(most).toBe(8)
    expect(result.outcomes).toEqual({ closed: 29, pending: 0, gone: 1, failed: 0 })
    expect(seen.map(({ done }) => done)).toEqual(Array.from({ length: 31 }, (_, n) => n))
  })

  it('stops when told to', async () => {
    let closed = 0
    const result = await closeAll(Array.from({ length: 30 }, String), () => Promise.resolve({ outcome: 'closed' as const }), ({ done }) => (closed = done), () => closed >= 10)
    expect(result.done).toBeLessThan(30)
  })

  it('knows what may be sent', () => {
    expect([1000, 1012, 3000, 4999].every(isCloseCode)).toBe(true)
    expect([0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 1000.5, NaN].some(isCloseCode)).toBe(false)
    expect([isReason('x'.repeat(123)), isReason('é'.repeat(62))]).toEqual([true, false])
  })
})
