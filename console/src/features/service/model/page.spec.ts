import { describe, expect, it } from 'vitest'
import type { Event, ServiceView } from '@/api/schema.gen'
import { addressesOf, eventsShown, placesOf, possible, tabOf } from './page'

it('a part is one of those there are, else the first', () => {
  expect([tabOf('logs'), tabOf(''), tabOf(undefined), tabOf('nonsense')]).toEqual(['logs', 'overview', 'overview', 'overview'])
})

describe('clients reach a service', () => {
  const at = (host: string, ...proxy: string[]) => addressesOf('weather', { listeners: { proxy } }, host)

  it('at each address at which the proxy listens', () => {
    expect(at('localhost', '127.0.0.1:9090', '10.0.0.1:80')).toEqual(['ws://127.0.0.1:9090/s/weather/', 'ws://10.0.0.1:80/s/weather/'])
  })

  it('at the address of this page, if the proxy listens everywhere', () => {
    expect(at('fleet.example', '0.0.0.0:9090', '[::]:9090')).toEqual(['ws://fleet.example:9090/s/weather/'])
    expect(at('[fe80::1]', '[::]:9090')).toEqual(['ws://[fe80::1]:9090/s/weather/'])
  })

  it('nowhere, if it does not listen, or nobody knows yet', () => {
    expect(at('localhost')).toEqual([])
    expect(addressesOf('weather', { listeners: {} }, 'localhost')).toEqual([])
    expect(addressesOf('weather', undefined, 'localhost')).toEqual([])
  })
})

it('places have a number only if there is a limit', () => {
  const config = (max_sessions: number) => ({ max_sessions }) as ServiceView['config']
  expect(placesOf({ active_connections: 3 }, config(0))).toEqual({ taken: 3, of: undefined })
  expect(placesOf({ active_connections: 3 }, config(5))).toEqual({ taken: 3, of: 5 })
})

describe('what can be asked of a service', () => {
  const of = (status: ServiceView['status'], desired: ServiceView['desired'], source: ServiceView['source'] = { kind: 'file', path: '/a' }) =>
    Object.entries(possible({ status, desired, source })).filter(([, can]) => can).map(([name]) => name)

  it('depends on its state', () => {
    expect(of('running', 'running')).toEqual(['stop', 'restart', 'scale', 'talk'])
    expect(of('stopped', 'stopped')).toEqual(['start', 'scale'])
    expect(of('starting', 'running')).toEqual(['stop', 'restart', 'scale'])
    expect(of('stopping', 'stopped')).toEqual(['start', 'stop', 'scale'])
  })

  it('is to be tried at once if it does not run', () => {
    expect(of('error', 'running')).toEqual(['start', 'stop', 'scale'])
    expect(of('unhealthy', 'running')).toEqual(['stop', 'restart', 'scale'])
  })

  it('is not a number of instances, if it runs elsewhere', () => {
    expect(of('running', 'running', { kind: 'external', url: 'ws://x' })).toEqual(['stop', 'restart', 'talk'])
  })
})

it('events are shown by kind, the newest first', () => {
  const events = [{ id: 1, kind: 'instance.error' }, { id: 3, kind: 'instances.none' }, { id: 2, kind: 'instance.running' }] as Event[]
  expect(eventsShown(events, '').map(({ id }) => id)).toEqual([3, 2, 1])
  expect(eventsShown(events, 'instance').map(({ id }) => id)).toEqual([2, 1])
})
