import { describe, expect, it } from 'vitest'
import type { ServiceView, StatsAnswer } from '@/api/schema.gen'
import { numbersOf } from './numbers'

const stats = (more: Partial<StatsAnswer> = {}) =>
  ({
    active_connections: 3, active_sessions: 4, sessions: 9, messages_in: 10, messages_out: 20, cpu_percent: 1.5, memory_mb: 64, restarts: 0,
    recent: { messages_in: 1, messages_out: 2 }, ...more,
  }) as StatsAnswer
const cards = (source: ServiceView['source'], more: Partial<StatsAnswer> = {}) =>
  new Map(numbersOf(stats(more), { source }).map((card) => [card.key, card]))
const file = { kind: 'file', path: '/a.py' } as const

describe('the numbers of a service', () => {
  it('are those that there are of what runs', () => {
    expect([...cards(file).keys()]).toEqual(['connections', 'messages', 'sessions', 'firstResponse', 'errors', 'cpu', 'memory', 'restarts'])
    expect([...cards({ kind: 'command', argv: ['a'] }).keys()]).toEqual(['connections', 'messages', 'cpu', 'memory', 'restarts'])
    expect([...cards({ kind: 'external', url: 'ws://x' }).keys()]).toEqual(['connections', 'messages', 'restarts'])
  })

  it('say what belongs to them', () => {
    expect(cards(file, { peak: { connections: 7, sessions: 8 } }).get('connections')).toMatchObject({ value: 3, hint: { key: 'peak', parts: { n: 7 } } })
    expect(cards(file).get('connections')?.hint).toBeUndefined()
    expect(cards(file).get('messages')).toMatchObject({ value: 30, hint: { parts: { received: 1, sent: 2 } } })
  })

  it('are unknown where nothing was measured', () => {
    expect([cards(file).get('firstResponse')?.value, cards(file).get('errors')?.value]).toEqual([undefined, undefined])
  })

  it('stand out where somebody should look', () => {
    expect(cards(file, { turn_error_rate: 0.2 }).get('errors')?.tone).toBe('bad')
    expect(cards(file, { turn_error_rate: 0.05 }).get('errors')?.tone).toBeUndefined()
    expect(cards(file, { restarts: 1 }).get('restarts')?.tone).toBe('warn')
    expect(cards(file).get('restarts')?.tone).toBeUndefined()
  })
})
