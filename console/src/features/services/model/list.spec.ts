import { describe, expect, it } from 'vitest'
import type { ServiceView } from '@/api/schema.gen'
import {
  canStart, canStop, chunks, countStates, cpuOf, filterServices, healthTones, memoryOf, pageOf, runningOf, sortServices, sourceText, statesByUrgency,
  stateTones, tagsOf,
} from './list'

const service = (name: string, rest: object = {}) =>
  ({
    name, description: '', tags: [], status: 'running', source: { kind: 'command', argv: ['node', 'x'] }, instances: [], restart_count: 0,
    stats: { active_connections: 0 }, ...rest,
  }) as unknown as ServiceView
const instance = (status: string, cpu_percent: number, memory_mb: number) => ({ status, cpu_percent, memory_mb })
const names = (services: ServiceView[]) => services.map((one) => one.name)
const all = { search: '', status: '', tag: '' }

const fleet = [
  service('b', { status: 'error', tags: ['chat', 'x'], description: 'Tells the Weather', restart_count: 3 }),
  service('a', { status: 'stopped', source: { kind: 'external', url: 'ws://far/away' }, stats: { active_connections: 7 } }),
  service('c', { tags: ['chat'], source: { kind: 'file', path: '/srv/c.py' }, instances: [instance('running', 2, 10), instance('starting', 1, 5)], started_at: '2026-01-01T00:00:00Z' }),
]

describe('what is shown', () => {
  it.each([
    [{ search: 'weather' }, ['b']],
    [{ search: 'TELLS chat' }, ['b']],
    [{ search: 'far' }, ['a']],
    [{ search: '/srv' }, ['c']],
    [{ search: 'nothing' }, []],
    [{ status: 'stopped' }, ['a']],
    [{ tag: 'chat' }, ['b', 'c']],
    [{ tag: 'chat', status: 'error' }, ['b']],
    [{}, ['b', 'a', 'c']],
  ])('by %j', (filter, found) => expect(names(filterServices(fleet, { ...all, ...filter }))).toEqual(found))

  it.each([
    ['name', ['a', 'b', 'c']],
    ['-name', ['c', 'b', 'a']],
    ['status', ['b', 'c', 'a']],
    ['-connections', ['a', 'b', 'c']],
    ['-restarts', ['b', 'a', 'c']],
    ['-memory', ['c', 'a', 'b']],
    ['-cpu', ['c', 'a', 'b']],
    ['-instances', ['c', 'a', 'b']],
    ['-started', ['c', 'a', 'b']],
    ['constructor', ['a', 'b', 'c']],
  ])('in the order of %s', (sort, found) => expect(names(sortServices(fleet, sort))).toEqual(found))
})

it('numbers are sums over instances', () => {
  const c = fleet[2] ?? service('none')
  expect([runningOf(c), cpuOf(c), memoryOf(c)]).toEqual([1, 3, 15])
})

it('sources are one line', () => expect(fleet.map((one) => sourceText(one.source))).toEqual(['node x', 'ws://far/away', '/srv/c.py']))

it('tags come once, in order', () => expect(tagsOf(fleet)).toEqual(['chat', 'x']))

it('states are counted, the worst first', () => {
  expect(countStates([...fleet, service('d')])).toEqual([{ state: 'error', count: 1 }, { state: 'running', count: 2 }, { state: 'stopped', count: 1 }])
  expect(Object.keys(stateTones).sort()).toEqual([...statesByUrgency].sort())
  expect(healthTones.unhealthy).toBe('bad')
})

describe('pages', () => {
  const rows = Array.from({ length: 120 }, (_, index) => index)
  it.each([[1, 0, 50, 1], [3, 100, 20, 3], [9, 100, 20, 3], [0, 0, 50, 1], [NaN, 0, 50, 1]])('%d', (page, first, length, shown) => {
    const found = pageOf(rows, page, 50)
    expect([found.rows[0], found.rows.length, found.page, found.pages]).toEqual([first, length, shown, 3])
  })
  it('of nothing is one', () => expect(pageOf([], 2, 50)).toEqual({ rows: [], page: 1, pages: 1 }))
})

it('long lists are done in parts', () => {
  expect(chunks([1, 2, 3], 2)).toEqual([[1, 2], [3]])
  expect(chunks([], 2)).toEqual([])
})

it('what can be done depends on the state', () => {
  const can = (status: string) => [canStart(service('a', { status })), canStop(service('a', { status }))]
  expect([can('stopped'), can('error'), can('running'), can('starting'), can('stopping')]).toEqual([[true, false], [true, true], [false, true], [false, true], [false, false]])
})
