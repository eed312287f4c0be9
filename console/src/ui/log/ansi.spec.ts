import { expect, it } from 'vitest'
import { stripAnsi } from './ansi'

it('takes colours away, and nothing else', () => {
  expect(stripAnsi('\u001b[1;31mERROR\u001b[0m [31m is text')).toBe('ERROR [31m is text')
  expect(stripAnsi('a\tb ü 天气 🌦')).toBe('a\tb ü 天气 🌦')
})

it('takes what moves the cursor, names the window or links away', () => {
  expect(stripAnsi('\u001b[2K\u001b[1Gdone')).toBe('done')
  expect(stripAnsi('\u001b]0;title\u0007text')).toBe('text')
  expect(stripAnsi('\u001b]8;;https://example.org\u001b\\link\u001b]8;;\u001b\\')).toBe('link')
  expect(stripAnsi('\u001b(Bplain\u001b7')).toBe('plain')
})

it('shows of a progress bar what it says at last', () => {
  expect(stripAnsi('10 %\r50 %\r100 %')).toBe('100 %')
  expect(stripAnsi('a line of Windows\r')).toBe('a line of Windows')
})

it('survives a sequence that is cut off', () => {
  expect(stripAnsi('text\u001b]0;never ended')).toBe('text')
  expect(stripAnsi('text\u001b')).toBe('text')
})

it('reads a line of nothing but returns at once', () => {
  const began = performance.now()
  expect(stripAnsi(`${'\r'.repeat(100_000)}end\r\r`)).toBe('end')
  expect(performance.now() - began).toBeLessThan(500)
})
