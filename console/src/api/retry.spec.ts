import { expect, it } from 'vitest'
import { Backoff } from './retry'

it('waits grow to a limit while nothing lasts, and are short again after what did', () => {
  const backoff = new Backoff()
  expect([0, 3, 9_999, 0, 0, 0].map((lasted) => backoff.next(lasted))).toEqual([500, 1_000, 2_000, 4_000, 5_000, 5_000])
  expect([60_000, 0, 0].map((lasted) => backoff.next(lasted))).toEqual([500, 1_000, 2_000])
})
