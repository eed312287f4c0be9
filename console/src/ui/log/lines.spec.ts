import { describe, expect, it } from 'vitest'
import { asText, clockTime, LineBuffer } from './lines'

const line = (text: string) => ({ at: 0, source: 'weather-0', stream: 'stdout', level: 'info', text })
const lines = (...texts: string[]) => texts.map(line)
const texts = (buffer: LineBuffer) => buffer.lines.map(({ text }) => text).join('')

describe('the lines that are kept', () => {
  it('are the newest', () => {
    const buffer = new LineBuffer(3)
    buffer.add(lines('a', 'b'))
    buffer.add(lines('c', 'd'))
    expect(texts(buffer)).toBe('bcd')
    expect(buffer.dropped).toBe(1)
  })

  it('have ids that grow and stay', () => {
    const buffer = new LineBuffer(2)
    buffer.add(lines('a', 'b', 'c'))
    expect(buffer.lines.map(({ id }) => id)).toEqual([2, 3])
  })

  it('never change under who holds them', () => {
    const buffer = new LineBuffer(5)
    buffer.add(lines('a'))
    const before = buffer.lines
    buffer.add(lines('b'))
    expect(before).toHaveLength(1)
    expect(buffer.lines).not.toBe(before)
    const same = buffer.lines
    buffer.add([])
    expect(buffer.lines).toBe(same)
  })

  it('wait while it is paused, and not without bound', () => {
    const buffer = new LineBuffer(3)
    buffer.add(lines('a'))
    buffer.pause()
    buffer.add(lines('b', 'c'))
    expect([texts(buffer), buffer.waits, buffer.paused]).toEqual(['a', 2, true])
    buffer.add(lines('d', 'e'))
    expect([buffer.waits, buffer.dropped]).toEqual([3, 1])
    buffer.resume()
    expect([texts(buffer), buffer.waits, buffer.paused, buffer.dropped]).toEqual(['cde', 0, false, 2])
  })

  it('are none after clearing', () => {
    const buffer = new LineBuffer(1)
    buffer.add(lines('a', 'b'))
    buffer.clear()
    expect([texts(buffer), buffer.dropped]).toEqual(['', 0])
  })
})

it('a text file has a line for each, with all that is known of it', () => {
  const at = Date.UTC(2026, 0, 2, 3, 4, 5, 6)
  expect(asText([{ ...line('hi'), at }, { ...line(''), at, level: '', stream: 'stderr' }])).toBe(
    '2026-01-02T03:04:05.006Z weather-0 stdout INFO hi\n2026-01-02T03:04:05.006Z weather-0 stderr - \n',
  )
})

it('a time is that of the day here', () => {
  expect(clockTime(new Date(2026, 0, 2, 3, 4, 5, 6).getTime())).toBe('03:04:05.006')
})
