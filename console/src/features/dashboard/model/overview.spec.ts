import { describe, expect, it } from 'vitest'
import type { Attention, Overview, Recent } from '@/api/schema.gen'
import { DASH, errorRate, errorTone, figures, isEmpty, memory, perSecond, placeOf, runningFor, segments, troubles } from './overview'

const recent = (values: Partial<Recent> = {}): Recent => ({
  measured_seconds: 60, connections: 0, messages_in: 0, messages_out: 0, bytes_in: 0, bytes_out: 0, turns_completed: 0, turns_failed: 0, ...values,
})
const overview = (values: Partial<Overview> = {}): Overview => ({
  services: {}, instances: {}, health: {}, connections: { total_connections: 0, by_status: {}, by_service: {} },
  sessions: { active: 0, detached: 0, completed: 0, failed: 0 }, restarts: 0, cpu_percent: 0, memory_mb: 0, uptime_seconds: 0,
  recent: recent(), problems: [], attention: [], attention_total: 0, ...values,
})
const trouble = (values: Partial<Attention>): Attention => ({ severity: 'critical', service: 'a', agent_type: 'file', instance: 'a-0', what: 'error', why: 'exit code 1', ...values })

describe('the bar of services', () => {
  it('has a part for each state that there is, as wide as it has services', () => {
    expect(segments({ error: 1, running: 3, starting: 0, total: 4 })).toEqual([
      { state: 'running', services: 3, share: 75 },
      { state: 'error', services: 1, share: 25 },
    ])
  })
  it('is empty without services', () => expect(segments({ total: 0, running: 0 })).toEqual([]))
})

it('a fleet is empty without services, whatever their state', () => {
  expect(isEmpty({ services: { total: 0 } })).toBe(true)
  expect(isEmpty({ services: {} })).toBe(true)
  expect(isEmpty({ services: { total: 1, stopped: 1 } })).toBe(false)
})

describe('what needs attention', () => {
  it('is told once for all instances that have the same', () => {
    const found = troubles([trouble({}), trouble({ instance: 'a-1' }), trouble({ instance: 'a-2', why: 'exit code 2' })])
    expect(found.map(({ instances }) => instances)).toEqual([['a-0', 'a-1'], ['a-2']])
  })
  it('begins with the worst, and else keeps its order', () => {
    const found = troubles([
      trouble({ severity: 'info', service: 'x', what: 'restart_required' }),
      trouble({ severity: 'warning', service: 'z', what: 'nearly_full' }),
      trouble({ service: 'y' }),
      trouble({ severity: 'warning', service: 'b', what: 'outdated' }),
    ])
    expect(found.map(({ service, tone }) => [service, tone])).toEqual([['y', 'bad'], ['z', 'warn'], ['b', 'warn'], ['x', 'idle']])
  })
  it.each([
    ['error', '/services/a/logs', 'start'],
    ['unhealthy', '/services/a/logs', 'restart'],
    ['restarting', '/services/a/logs', undefined],
    ['degraded', '/services/a', undefined],
    ['nearly_full', '/services/a', undefined],
    ['outdated', '/services/a', 'restart'],
    ['restart_required', '/services/a', 'restart'],
    ['something_new', '/services/a', undefined],
    ['constructor', '/services/a', undefined],
  ])('%s is looked at in %s and mended by %s', (what, place, act) => {
    const found = troubles([trouble({ what })])
    expect(found.map((each) => [placeOf(each), each.act])).toEqual([[place, act]])
  })
  it('cannot be mended here if it runs elsewhere', () => {
    const found = troubles([trouble({ what: 'unhealthy', agent_type: 'external' })])
    expect(found.map((each) => [placeOf(each), each.act])).toEqual([['/services/a/health', undefined]])
  })
})

describe('the last minute', () => {
  it('is told per second of what was measured', () => {
    expect(perSecond(recent({ measured_seconds: 20, messages_in: 10, messages_out: 30 }), 'messages_in', 'messages_out')).toBe(2)
    expect(perSecond(recent({ measured_seconds: 0, messages_in: 10 }), 'messages_in')).toBeUndefined()
  })
  it('has an error rate if there were turns', () => {
    expect(errorRate(recent({ turns_completed: 3, turns_failed: 1 }))).toBe(0.25)
    expect(errorRate(recent())).toBeUndefined()
    expect(errorRate(recent({ measured_seconds: 0, turns_failed: 1 }))).toBeUndefined()
  })
  it('is bad when more than one of twenty fails', () => {
    expect([undefined, 0, 0.05, 0.051].map(errorTone)).toEqual([undefined, undefined, 'warn', 'bad'])
  })
})

describe('the cards', () => {
  it('say nothing of what was not measured', () => {
    const told = figures(overview({ recent: recent({ measured_seconds: 0 }) }), {}, 'en')
    expect([told.messages, told.errors, told.p50, told.p90, told.opened]).toEqual([DASH, DASH, DASH, DASH, DASH])
    expect([told.connections, told.restarts, told.cpu]).toEqual(['0', '0', '0%'])
  })
  it('write numbers as people do', () => {
    const told = figures(
      overview({
        connections: { total_connections: 1234, by_status: {}, by_service: {} }, cpu_percent: 130.5, memory_mb: 2048, instances: { running: 2, error: 1 },
        recent: recent({ messages_in: 30, messages_out: 60, turns_completed: 90, turns_failed: 10 }),
      }),
      { p50: 0.34, p90: 2.5 },
      'en',
    )
    expect(told).toMatchObject({
      connections: '1,234', messages: '1.5', messagesIn: '0.5', messagesOut: '1', errors: '10%', errorTone: 'bad', failed: '10', turns: '100',
      p50: '340 ms', p90: '2.5 s', cpu: '130.5%', memory: '2 GiB', ready: '2', instances: '3',
    })
  })
  it('write memory in MiB or GiB', () => expect([12.34, 1023, 1536].map((value) => memory(value, 'en'))).toEqual(['12.3 MiB', '1,023 MiB', '1.5 GiB']))
})

it('the time that a manager runs goes on between two answers', () => {
  expect(runningFor(10, 1000, 3500)).toBe(12_500)
  expect(runningFor(10, 1000, 500)).toBe(10_000)
})
