import { expect, it } from 'vitest'
import { faultyLine } from './jsonFault'

const good = ['{}', ' [] ', 'null', '-1.5e+3', '"a\\u00e9\\n"', '{"a": [1, {"b": "ü 天"}, true], "c": {}}\n', '[[[]]]']
it.each(good)('%s is JSON', (text) => {
  expect(faultyLine(text)).toBeUndefined()
  JSON.parse(text)
})

const bad: [string, number][] = [
  ['', 1], ['{', 1], ['{\n"a": 1', 2], ['{\n"a": 1,\n}', 3], ['{\n"a": 1\n"b": 2}', 3], ['{\n  "a": 1,\n  "b": oops\n}', 3], ["{'a': 1}", 1],
  ['[1,\n2,\n,3]', 3], ['{}\n{}', 2], ['"a\nb"', 1], ['01', 1], ['{"a"\n1}', 2], ['"\\x"', 1],
]
it.each(bad)('%j is none, from line %i on', (text, line) => {
  expect(faultyLine(text)).toBe(line)
  expect(() => JSON.parse(text)).toThrow()
})
