import { describe, expect, it } from 'vitest'
import { around, fromInput, groupsOf, isAsked, isRange, queryOf, toInput, type Search } from './model'

const nothing: Search = { q: '', service: '', level: '', stream: '', range: '24h', since: '', until: '', limit: '' }
const now = Date.UTC(2026, 0, 2, 12)

describe('what is asked', () => {
  it('is what stands in the address', () => {
    const search = { ...nothing, q: 'time.*out', service: 'a,b', level: 'warn', stream: 'stderr', range: '1h', limit: '1000' }
    expect(queryOf(search, now)).toEqual({
      q: 'time.*out', service: 'a,b', level: 'warn', stream: 'stderr', since: '2026-01-02T11:00:00.000Z', until: undefined, limit: 1000,
    })
  })

  it('leaves out what nobody could mean', () => {
    const query = queryOf({ ...nothing, level: 'loud', stream: 'sea', range: 'ever', since: 'x', until: 'y', limit: '5000' }, now)
    expect(query).toEqual({ q: undefined, service: undefined, level: undefined, stream: undefined, since: '2026-01-01T12:00:00.000Z', until: undefined, limit: 500 })
    expect(queryOf({ ...nothing, limit: '0' }, now).limit).toBe(500)
    expect(queryOf({ ...nothing, limit: '2.5' }, now).limit).toBe(500)
  })

  it('has no bound when all is asked for, and given times win', () => {
    expect(queryOf({ ...nothing, range: 'all' }, now).since).toBeUndefined()
    const times = { since: '2026-01-01T01:00:00+01:00', until: '2026-01-01T02:00:00Z' }
    expect(queryOf({ ...nothing, ...times }, now)).toMatchObject({ since: '2026-01-01T00:00:00.000Z', until: '2026-01-01T02:00:00.000Z' })
    // Otherwise going on until before the range would find nothing.
    expect(queryOf({ ...nothing, range: '1h', until: times.until }, now).since).toBeUndefined()
  })

  it('is something, or nothing', () => {
    expect(isAsked(nothing)).toBe(false)
    expect(isAsked({ ...nothing, level: 'error' })).toBe(true)
    expect(isRange('1h')).toBe(true)
    expect(isRange('toString')).toBe(false)
  })
})

const line = (service: string, instance: string, text: string) => ({ service, instance, line: text, stream: 'stdout', ts: '2026-01-02T03:04:05Z' })

it('what was found is grouped by instance, the one with the newest line first', () => {
  const lines = [line('b', 'b-0', '1'), line('a', 'a-1', '2'), line('b', 'b-0', '3'), line('a', 'a-0', '4')]
  expect(groupsOf(lines).map(({ instance, lines }) => [instance, lines.map((each) => each.line).join('')])).toEqual([
    ['b-0', '13'], ['a-1', '2'], ['a-0', '4'],
  ])
  expect(groupsOf([])).toEqual([])
})

it('a line leads to what was printed around it', () => {
  expect(around(line('a', 'a-0', ''))).toEqual({
    since: '2026-01-02T03:03:35.000Z', until: '2026-01-02T03:04:35.000Z', at: '2026-01-02T03:04:05.000Z', instance: 'a-0',
  })
})

it('times go into a form and come back', () => {
  const time = '2026-01-02T03:04:05.000Z'
  expect(fromInput(toInput(time))).toBe(time)
  expect(toInput('+275760-09-13T00:00:00.000Z')).toBe('')
  expect([toInput(''), fromInput(''), fromInput('never')]).toEqual(['', '', ''])
})
