import { describe, expect, it } from 'vitest'
import { verdict } from './verdict'

describe('the fleet in one sentence', () => {
  it('says that nothing needs attention, though some are stopped', () => {
    expect(verdict({ services: { running: 3, stopped: 1, total: 4 }, problems: [], attention_total: 0 })).toEqual({ key: 'well', running: 3, total: 4, troubles: 0 })
  })
  it('counts what is wrong with services, and with the manager itself', () => {
    expect(verdict({ services: { running: 1, error: 2, total: 3 }, problems: ['disk full'], attention_total: 2 })).toMatchObject({ key: 'attention', troubles: 3 })
  })
  it('takes a state that is not told as none', () => {
    expect(verdict({ services: {}, problems: [], attention_total: 0 })).toMatchObject({ running: 0, total: 0 })
  })
})
