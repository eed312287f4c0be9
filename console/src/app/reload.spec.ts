// @vitest-environment jsdom
import { expect, it } from 'vitest'
import { isMissingFile, mayReload } from './reload'

it('files that are gone are known by the words of each browser', () => {
  for (const words of [
    'Failed to fetch dynamically imported module: http://127.0.0.1:8080/assets/List-x.js',
    'error loading dynamically imported module: http://127.0.0.1:8080/assets/List-x.js',
    'Importing a module script failed.',
    'Unable to preload CSS for /assets/List-x.css',
  ]) {
    expect(isMissingFile(new TypeError(words)), words).toBe(true)
  }
  expect(isMissingFile(new TypeError('Failed to fetch'))).toBe(false)
  expect(isMissingFile(undefined)).toBe(false)
})

it('a page is loaded anew once in a while, whatever the clock does and whoever wrote the last time', () => {
  expect(mayReload(null, 1e12)).toBe(true)
  expect(mayReload('1000000000000', 1e12 + 5_000)).toBe(false)
  expect(mayReload('1000000000000', 1e12 + 60_000)).toBe(true)
  expect(mayReload('1000000000000', 1e12 - 3_600_000)).toBe(true)
  expect(mayReload('garbage', 1e12)).toBe(true)
})
