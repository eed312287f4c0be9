import { expect, it } from 'vitest'
import { summary } from './lines'

it('a line is told by its last, lowest and highest value, whatever gaps it has', () => {
  const points = [[1, 5], [2, null], [3, 9], [4, 2], [5, null]] as const
  expect(summary({ name: 'x', points })).toEqual({ last: 2, lowest: 2, highest: 9 })
})

it('a line without a value has nothing to tell', () => {
  expect(summary({ name: 'x', points: [[1, null]] })).toEqual({})
})
