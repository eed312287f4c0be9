import { describe, expect, it } from 'vitest'
import type { Event } from '@/api/schema.gen'
import en from '../locales/en'
import { fileOf, toCsv, toJson } from './export'
import { dayOf, held, matches, merged, serviceNames } from './feed'
import { actors, actorWords, EVERY_KIND, groups, isComingOrGoing, kinds, kindsAsked, kindsOf, lookOf, NOTEWORTHY } from './kinds'
import { olderThan, PAGE, type Ask } from './older'

const event = (id: number, values: Partial<Event> = {}): Event => ({ id, at: '2026-01-02T04:05:06Z', who: 'api', kind: 'service.start', why: 'asked for', ...values })
const all = { kind: '', service: '', who: '', search: '' }

describe('a kind', () => {
  it('that is known has words, a tone and a group', () =>
    expect(lookOf('instance.error')).toEqual({ words: 'events.kinds.instance.error', tone: 'bad', group: 'instance' }))
  it('that is not known is shown as it is', () => {
    expect(lookOf('instance.danced')).toEqual({ words: undefined, tone: 'idle', group: 'instance' })
    expect(lookOf('weather.changed')).toEqual({ words: undefined, tone: 'idle', group: undefined })
    expect(lookOf('constructor')).toEqual({ words: undefined, tone: 'idle', group: undefined })
    expect(lookOf('instance.toString').words).toBeUndefined()
  })
  it('has words in the texts', () => {
    const texts: Record<string, Record<string, string>> = en.kinds
    expect(kinds.filter((kind) => !texts[kind.split('.')[0] ?? '']?.[kind.split('.')[1] ?? ''])).toEqual([])
    expect(Object.entries(texts).flatMap(([group, words]) => Object.keys(words).map((what) => `${group}.${what}`)).sort()).toEqual([...kinds].sort())
  })
  it('belongs to its group', () => expect(kindsOf('storage')).toEqual(['storage.failed', 'storage.recovered']))
})

it('who did something has words if known', () => {
  expect(actors.map(actorWords)).toEqual(['events.actors.api', 'events.actors.cli', 'events.actors.manager', 'events.actors.runner'])
  expect(actorWords('somebody')).toBeUndefined()
})

it('what is noteworthy is all but the coming and going of clients', () => {
  expect(NOTEWORTHY.split(',')).toEqual(groups.map((group) => (group === 'connection' ? 'connection.disconnect' : `${group}.`)))
})

it('what is asked for is what is wanted', () => {
  expect(['', EVERY_KIND, 'rule.', 'instance.error'].map(kindsAsked)).toEqual([NOTEWORTHY, undefined, 'rule.', 'instance.error'])
  expect(['connection.opened', 'connection.closed', 'connection.disconnect', 'rule.created'].map(isComingOrGoing)).toEqual([true, true, false, false])
})

describe('the list', () => {
  it('has each event once, the newest first', () =>
    expect(merged([event(1), event(3)], [event(2), event(3)]).map(({ id }) => id)).toEqual([3, 2, 1]))
  it.each([
    [{ kind: 'instance.' }, [2, 3]],
    [{ kind: 'instance.error' }, [3]],
    [{ kind: 'instance' }, []],
    [{ service: 'a' }, [2]],
    [{ who: 'api' }, [1]],
    [{ who: 'runner' }, []],
    [{ who: 'runner', kind: EVERY_KIND }, [4]],
    [{ kind: 'connection.' }, [4]],
    [{ search: 'CODE 3' }, [3]],
    [{ search: 'b-0 exit' }, [3]],
    [{ kind: 'instance.', search: 'nothing' }, []],
  ])('with %o has %o', (filter, ids) => {
    const events = [
      event(1), event(2, { kind: 'instance.running', service: 'a', who: 'manager' }),
      event(4, { kind: 'connection.opened', who: 'runner' }),
      event(3, { kind: 'instance.error', service: 'b', instance: 'b-0', who: 'manager', why: 'exit code 3' }),
    ]
    expect(events.filter((each) => matches(each, { ...all, ...filter })).map(({ id }) => id)).toEqual(ids)
  })
  it('holds newer events back while somebody reads older ones', () => {
    const events = [event(5), event(4), event(2)]
    expect(held(events, 4)).toEqual({ shown: [event(4), event(2)], waiting: 1 })
    expect(held(events, undefined).waiting).toBe(0)
  })
  it('names the services that there are and were', () =>
    expect(serviceNames([event(1, { service: 'old' }), event(2, { service: null })], ['new', 'old'])).toEqual(['new', 'old']))
  it('tells days apart', () => expect(dayOf(event(1))).not.toBe(dayOf(event(1, { at: '2026-01-04T04:05:06Z' }))))
})

describe('older events', () => {
  /** A store as the API shows it. */
  const store = (ids: number[]): { ask: Ask; asked: number[] } => {
    const asked: number[] = []
    return {
      asked,
      ask: async (afterId, limit) => {
        asked.push(afterId)
        return ids.filter((id) => id > afterId).slice(0, limit).map((id) => event(id))
      },
    }
  }
  const range = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => from + index)

  it('are those just before', async () => {
    const { events, end } = await olderThan(3000, store(range(1, 4000)).ask)
    expect(events.map(({ id }) => id)).toEqual(range(3000 - PAGE, 3000))
    expect(end).toBe(false)
  })
  it('end with the first', async () => {
    const { events, end } = await olderThan(500, store(range(7, 4000)).ask)
    expect(events.map(({ id }) => id)).toEqual(range(7, 500))
    expect(end).toBe(true)
  })
  it('are found beyond a gap, in few requests', async () => {
    const { ask, asked } = store([3, ...range(9_000_000, 9_000_010)])
    const { events, end } = await olderThan(9_000_000, ask)
    expect([events.map(({ id }) => id), end]).toEqual([[3], true])
    expect(asked.length).toBeLessThan(12)
  })
  it('leave nothing out where a window has more than one answer holds', async () => {
    const ids = [1, ...range(5000, 12_000), 20_000]
    const { events } = await olderThan(20_000, store(ids).ask)
    const found = events.map(({ id }) => id)
    expect(found).toEqual(ids.filter((id) => id >= (found[0] ?? 0) && id < 20_000))
    expect(found.at(-1)).toBe(11_999)
  })
  it.each([[[]], [[5, 6]]])('of %o before the first are none', async (ids) =>
    expect(await olderThan(5, store(ids).ask)).toEqual({ events: [], end: true }))
})

describe('a file', () => {
  const events = [event(2, { why: 'said "no", twice', service: 'a' }), event(1, { why: '=1+1\nx', instance: null })]
  it('of CSV has a row for each, quoted where needed, and no formulas', () =>
    expect(toCsv(events)).toBe(
      'id,at,who,kind,service,instance,why\r\n2,2026-01-02T04:05:06Z,api,service.start,a,,"said ""no"", twice"\r\n' +
        '1,2026-01-02T04:05:06Z,api,service.start,,,"\'=1+1\nx"\r\n',
    ))
  it('of JSON is what the API said', () => expect(JSON.parse(toJson(events))).toEqual(events))
  it('has a name that tells when', () => {
    const now = new Date('2026-01-02T04:05:06.789Z')
    expect(fileOf([], 'csv', now)).toMatchObject({ name: 'events-2026-01-02-04-05-06.csv', type: 'text/csv;charset=utf-8' })
    expect(fileOf([], 'json', now)).toMatchObject({ name: 'events-2026-01-02-04-05-06.json', text: '[]\n' })
  })
})
