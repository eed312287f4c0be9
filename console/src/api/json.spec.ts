import { expect, it } from 'vitest'
import { parsed } from './json'

it('garbage is no value', () => {
  expect(parsed('{"a":1}')).toEqual({ a: 1 })
  for (const text of ['', '{"a":', '<html>', 'NaN']) expect(parsed(text), text).toBeUndefined()
})
