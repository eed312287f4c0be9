import { describe, expect, it } from 'vitest'
import { finderOf, patternOf, piecesOf } from './highlight'

const marked = (line: string, finder?: RegExp) => piecesOf(line, finder).map(({ text, found }) => (found ? `[${text}]` : text)).join('')

describe('what is searched', () => {
  it('is found in any case, wherever it stands', () => {
    expect(marked('Paris, paris', finderOf(' PARIS '))).toBe('[Paris], [paris]')
  })

  it('means itself, also if it looks like a pattern', () => {
    expect(marked('a.b a+b (x', finderOf('a.b'))).toBe('[a.b] a+b (x')
    expect(marked('call (x', finderOf('(x'))).toBe('call [(x]')
  })

  it('is nothing when there is nothing to find', () => {
    expect(finderOf('  ')).toBeUndefined()
    expect(marked('line', undefined)).toBe('line')
  })
})

describe('a pattern', () => {
  it('is read as the manager reads it', () => {
    expect(marked('took 120 ms', patternOf('\\d+ ms'))).toBe('took [120 ms]')
    expect(marked('ERROR error', patternOf('error'))).toBe('ERROR [error]')
    expect(marked('ERROR error', patternOf('(?i)error'))).toBe('[ERROR] [error]')
  })

  it('that cannot be read, or finds nothing at all, marks nothing', () => {
    expect(patternOf('(?P<x>')).toBeUndefined()
    expect(patternOf('')).toBeUndefined()
    expect(marked('line', patternOf('x*'))).toBe('line')
  })

  it('that may search for ever is not searched for', () => {
    expect(patternOf('(a+)+$')).toBeUndefined()
    const slow = patternOf('a*a*a*$')
    const began = performance.now()
    for (let line = 0; line < 200; line += 1) expect(marked(`${'a'.repeat(5_000)}!${line}`, slow)).not.toContain('[!')
    expect(performance.now() - began).toBeLessThan(5_000)
  })
})

it('the pieces of a line are the line, however long it is', () => {
  const line = 'ab'.repeat(20_000)
  const pieces = piecesOf(line, finderOf('a'))
  expect(pieces.map(({ text }) => text).join('')).toBe(line)
  expect(pieces.length).toBeLessThan(300)
  expect(piecesOf('', finderOf('a'))).toEqual([{ text: '', found: false }])
})
