import { describe, expect, it } from 'vitest'
import { reachOf } from './effort'

describe('how far a line is searched', () => {
  it('is far for what people look for', () => {
    for (const source of ['error', 'took \\d+ ms', '^\\[ERROR\\]', 'timeout|refused', 'a{3}', '(?:GET|POST) /', '[*+?]+', '\\(a\\+\\)']) {
      expect(reachOf(source), source).toBeGreaterThanOrEqual(10_000)
    }
    expect(reachOf('from .* to .*')).toBe(500)
    expect(reachOf('(GET|POST)? .* \\d+ .* \\d+ms')).toBeGreaterThanOrEqual(100)
  })

  it('is nowhere for what can take for ever', () => {
    for (const source of ['(a+)+$', '(a*)*', '(?:a|a)*b', '(?<x>a|aa)+$', '(a?){30}', '((a+))+', '(.*)*x', '([a-z]+\\s?)+$', 'a?'.repeat(30), '(a|a)'.repeat(30), '.*'.repeat(10), '(x(a+)y)*?']) {
      expect(reachOf(source), source).toBe(0)
    }
  })

  it('holds for lines that almost fit', () => {
    for (const source of ['a+$', 'a*a*$', 'a*a*a*$', 'a*a*a*a*$', '(a*)\\1$', 'a?a?a?a?a?a?a?a?a+$']) {
      const began = performance.now()
      new RegExp(source, 'g').exec(`${'a'.repeat(reachOf(source))}!`)
      // Some hundreds of ms; a machine that does other things, too, takes ten times as long. Without a bound it would be years.
      expect(performance.now() - began, source).toBeLessThan(20_000)
    }
  }, 120_000)
})
