// @vitest-environment jsdom
import { afterEach, expect, it, vi } from 'vitest'
import { hearTime, managerNow } from './clock'

const HOUR = 3_600_000
const told = (ms: number) => hearTime(new Date(ms).toUTCString())

afterEach(() => vi.useRealTimers())

it('what time it is, the manager says, if the clock of the browser differs much', () => {
  vi.useFakeTimers({ now: 1_700_000_000_000 })
  told(Date.now() - 2_000)
  expect(managerNow()).toBe(Date.now())
  told(Date.now() - 5 * HOUR)
  expect(managerNow()).toBe(Date.now() - 5 * HOUR)
  told(Date.now() - 5 * HOUR + 3_000)
  expect(managerNow()).toBe(Date.now() - 5 * HOUR)
  for (const strange of [null, '', 'never']) hearTime(strange)
  expect(managerNow()).toBe(Date.now() - 5 * HOUR)
  told(Date.now() + 1_000)
  expect(managerNow()).toBe(Date.now())
})
