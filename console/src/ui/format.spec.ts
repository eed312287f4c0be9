import { describe, expect, it } from 'vitest'
import { bytes, count, decimal, moment, percent, relative, span, ticking } from './format'

describe('sizes', () => {
  it.each([
    [0, '0 B'],
    [1023, '1023 B'],
    [1536, '1.5 KiB'],
    [200 * 1024, '200 KiB'],
    [5 * 1024 ** 4, '5.0 TiB'],
    [5000 * 1024 ** 4, '5000 TiB'],
  ])('%d is %s', (value, text) => expect(bytes(value)).toBe(text))
})

describe('numbers', () => {
  it('are short when they are big', () => {
    expect(count(9_999, 'en')).toBe('9,999')
    expect(count(12_345, 'en')).toBe('12.3K')
    expect(count(12_345, 'zh-CN')).toBe('1.2万')
  })
  it('have the digits that say something', () => {
    expect([0.123, 12.34, 123.4].map((value) => decimal(value, 'en'))).toEqual(['0.12', '12.3', '123'])
  })
  it('have no sign when they are nothing', () => {
    expect([count(-0, 'en'), decimal(-0.001, 'zh-CN'), percent(-0, 'en')]).toEqual(['0', '0', '0%'])
    expect(count(-3, 'en')).toBe('-3')
  })
  it.each(['en', 'zh-CN'])('are as the platform writes them in %s', (language) => {
    const told = (value: number, options: Intl.NumberFormatOptions) =>
      new Intl.NumberFormat(language, { ...options, signDisplay: 'negative' }).format(value)
    for (let n = -1_300; n <= 1_300; n += 1) {
      const value = (n * Math.PI) / 3
      const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2
      expect(count(n, language)).toBe(told(n, { maximumFractionDigits: 0 }))
      expect(decimal(value, language)).toBe(told(value, { maximumFractionDigits: digits }))
      expect(percent(n / 999, language)).toBe(told(n / 999, { style: 'percent', maximumFractionDigits: n / 999 < 0.1 ? 2 : 1 }))
    }
  })
  it('may be parts', () => expect(percent(0.0123, 'en')).toBe('1.23%'))
})

describe('spans', () => {
  it.each([
    [-5, '0:00'],
    [247_000, '4:07'],
    [3_723_000, '1:02:03'],
    [3 * 86_400_000 + 4 * 3_600_000, '3d 04:00:00'],
  ])('%d ms tick as %s', (ms, text) => expect(ticking(ms)).toBe(text))

  it.each([
    [2.34, '2.3 ms'],
    [340, '340 ms'],
    [2_500, '2.5 s'],
    [180_000, '3 min'],
    [7_200_000, '2.0 h'],
    [5 * 86_400_000, '5.0 d'],
  ])('%d ms are %s', (ms, text) => expect(span(ms)).toBe(text))
})

describe('how long ago', () => {
  const now = 1_000_000_000
  it('is told in the unit that fits', () => {
    expect(relative(now - 300_000, now)).toEqual({ when: 'ago', unit: 'minute', n: 5 })
    expect(relative(now + 7_300_000, now)).toEqual({ when: 'until', unit: 'hour', n: 2 })
    expect(relative(now - 59_900, now)).toEqual({ when: 'ago', unit: 'second', n: 59 })
    expect(relative(now - 10 * 86_400_000, now)).toEqual({ when: 'ago', unit: 'day', n: 10 })
  })
  it('is nothing when it is now, or no time', () => {
    expect(relative(now - 1_500, now)).toBeUndefined()
    expect(relative(NaN, now)).toBeUndefined()
  })
})

it('a moment that is none is told as none', () => {
  expect(moment(0, 'en')).toContain('1970')
  for (const at of [NaN, Infinity, 8.65e15]) expect(moment(at, 'en'), String(at)).toBe('–')
})
