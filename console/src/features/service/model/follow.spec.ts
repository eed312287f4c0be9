import { describe, expect, it } from 'vitest'
import { entryOf, followUrl, readFilter, readLine, Resume } from './follow'

const line = (second: number, text: string, instance = 'weather-0') => ({
  ts: new Date(Date.UTC(2026, 0, 2, 3, 0, second)).toISOString(),
  instance,
  stream: 'stdout',
  line: text,
  level: null,
})

describe('the address of a followed log', () => {
  it('names what is filtered, and only that', () => {
    expect(followUrl('weather', { level: '', instance: '', since: '' }, 200)).toBe('/api/v1/services/weather/logs?follow=true&tail=200')
    expect(followUrl('a b', { level: 'warn', instance: 'a-1', since: '2026-01-02T03:00:00+01:00' }, 5)).toBe(
      '/api/v1/services/a%20b/logs?follow=true&tail=5&level=warn&instance=a-1&since=2026-01-02T03%3A00%3A00%2B01%3A00',
    )
  })
})

it('a line is shown without what is meant for a terminal', () => {
  expect(entryOf({ ...line(4, '\u001b[31mred\u001b[0m'), level: 'error' })).toEqual({
    at: Date.UTC(2026, 0, 2, 3, 0, 4), source: 'weather-0', stream: 'stdout', level: 'error', text: 'red',
  })
  expect(entryOf(line(4, 'x')).level).toBe('')
})

describe('what stands in the address of the page', () => {
  const none = { level: '', instance: '', since: '', until: '', at: '' }

  it('is asked as the manager reads it', () => {
    expect(readFilter({ level: 'warn', instance: 'a-0', since: '2026-01-02T03:04:05+01:00', until: '2026-01-02', at: '' })).toEqual({
      level: 'warn', instance: 'a-0', since: '2026-01-02T02:04:05.000Z', until: '2026-01-02T00:00:00.000Z', at: '',
    })
  })

  it('is left out if nobody could mean it', () => {
    for (const strange of ['constructor', '__proto__', '2026-13-45T99:99:99Z', 'NaN', 'x'.repeat(3_000)]) {
      expect(readFilter({ ...none, level: strange, since: strange, until: strange, at: strange }), strange).toEqual(none)
    }
  })
})

it('a line of the stream that is garbage is none', () => {
  expect(readLine('{"ts":"2026-01-01T00:00:00Z","instance":"a-0","stream":"stdout","line":"x"}')?.line).toBe('x')
  for (const data of ['', 'null', '[]', '{"line":1}', '{"line":"x', '<html>', '{"line":"x","ts":"soon"}']) expect(readLine(data), data).toBeUndefined()
})

describe('after a break', () => {
  it('nothing was there, so nothing is refused', () => {
    const resume = new Resume()
    expect(resume.again()).toBeUndefined()
    expect(resume.take(line(1, 'a'))).toBe(true)
  })

  it('it is asked again from a while before the newest line', () => {
    const resume = new Resume()
    resume.take(line(30, 'a'))
    resume.take(line(20, 'of one that is late', 'weather-1'))
    expect(resume.again()).toBe('2026-01-02T03:00:25.000Z')
  })

  it('what was there is refused once, and what is new is taken', () => {
    const resume = new Resume()
    const before = [line(1, 'a'), line(2, 'b'), line(2, 'b')]
    expect(before.map((each) => resume.take(each))).toEqual([true, true, true])
    resume.again()
    const after = [...before, line(2, 'b'), line(2, 'b', 'weather-1'), line(3, 'c')]
    expect(after.map((each) => resume.take(each))).toEqual([false, false, false, true, true, true])
  })

  it('and after another, lines of before both are still known', () => {
    const resume = new Resume()
    resume.take(line(1, 'a'))
    resume.again()
    expect(resume.take(line(1, 'a'))).toBe(false)
    resume.take(line(2, 'b'))
    resume.again()
    expect([line(1, 'a'), line(2, 'b'), line(3, 'c')].map((each) => resume.take(each))).toEqual([false, false, true])
  })

  it('no more is remembered than is asked again', () => {
    const resume = new Resume()
    for (let at = 0; at < 60_001; at += 1) resume.take(line(1, String(at)))
    const from = resume.again()
    expect(from).toBe('2026-01-02T03:00:01.000Z')
    expect(resume.take(line(1, '60000'))).toBe(false)
    expect(resume.take(line(1, '0'))).toBe(true)
  })
})
