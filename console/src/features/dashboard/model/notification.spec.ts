import { expect, it } from 'vitest'
import { bytesOf, faultOf, MOST_BYTES, notificationOf } from './notification'

it('a text is measured in bytes', () => expect(['abc', '中文', ''].map(bytesOf)).toEqual([3, 6, 0]))

it('a text must say something, and not too much', () => {
  expect(faultOf(' \n')).toBe('missing')
  expect(faultOf('x'.repeat(MOST_BYTES))).toBeUndefined()
  expect(faultOf(`${'x'.repeat(MOST_BYTES)}y`)).toBe('tooLong')
  expect(faultOf('中'.repeat(1366))).toBe('tooLong')
})

it('without a service it is for all', () => {
  expect(notificationOf(' at noon ', 'info', '')).toEqual({ message: 'at noon', level: 'info' })
  expect(notificationOf('x', 'critical', 'a')).toEqual({ message: 'x', level: 'critical', service: 'a' })
})
