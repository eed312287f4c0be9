// @vitest-environment jsdom
import { expect, it } from 'vitest'
import { changedBy, keys } from './queries'

it('an event refetches what it is about, the list of events, and the numbers', () => {
  expect(changedBy({ kind: 'instance.error' })).toEqual([[keys.services], [keys.events], [keys.stats]])
  expect(changedBy({ kind: 'rule.created' })).toEqual([[keys.rules], [keys.events], [keys.stats]])
  expect(changedBy({ kind: 'connection.opened' })).toEqual([[keys.connections], [keys.events], [keys.stats]])
})

it('an event that nobody knows yet still refetches something', () => {
  expect(changedBy({ kind: 'weather.changed' })).toEqual([[keys.info], [keys.events], [keys.stats]])
})
