import { describe, expect, it } from 'vitest'
import { SseParser, type Message } from './sse'

const read = (...pieces: string[]): Message[] => {
  const parser = new SseParser()
  return pieces.flatMap((piece) => parser.push(piece))
}

describe('an event stream', () => {
  it('gives an event for each block', () => {
    expect(read('id: 7\nevent: a\ndata: {"x":1}\n\nid: 8\ndata: two\n\n')).toEqual([
      { id: '7', event: 'a', data: '{"x":1}' },
      { id: '8', event: 'message', data: 'two' },
    ])
  })

  it('may be cut anywhere', () => {
    const text = 'id: 7\r\nevent: a\r\ndata: one\r\ndata: two\r\n\r\nid: 8\ndata: three\n\n'
    const whole = read(text)
    expect(whole).toHaveLength(2)
    for (let at = 1; at < text.length; at += 1) {
      expect(read(text.slice(0, at), text.slice(at)), `cut at ${at}`).toEqual(whole)
    }
  })

  it('has comments that keep it alive and are no events', () => {
    expect(read(':\n\n', ': hello\n\n')).toEqual([])
  })

  it('keeps the id for events without one', () => {
    expect(read('id: 7\ndata: a\n\ndata: b\n\n').map((message) => message.id)).toEqual(['7', '7'])
  })
})
