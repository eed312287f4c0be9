import { describe, expect, it } from 'vitest'
import { isVariableName, looksSecret, mergeVariables, parseEnv } from './env'

describe('.env text', () => {
  it('is read as the command line reads it', () => {
    const text = '\n# a comment\nA=1\nexport B = two words # why\r\nC=\'a # b "c"\'\nD="x\\n\\"y\\"" # d\nE=\nF=a#b=c\n'
    expect(parseEnv(text)).toEqual({
      variables: [
        { key: 'A', value: '1' },
        { key: 'B', value: 'two words' },
        { key: 'C', value: 'a # b "c"' },
        { key: 'D', value: 'x\n"y"' },
        { key: 'E', value: '' },
        { key: 'F', value: 'a#b=c' },
      ],
      wrong: [],
    })
  })
  it.each(['nonsense', '=1', 'A="x', "A='x"])('%s is wrong', (line) => expect(parseEnv(`A=1\n${line}`)).toEqual({ variables: [{ key: 'A', value: '1' }], wrong: [2] }))
})

it('variables are written over', () => {
  const rows = [{ key: 'A', value: '1' }, { key: '', value: '' }]
  expect(mergeVariables(rows, [{ key: 'B', value: '2' }, { key: 'A', value: '3' }])).toEqual([{ key: 'A', value: '3' }, { key: 'B', value: '2' }])
})

it('names are those of variables', () => {
  expect(['A', '_a1'].every(isVariableName)).toBe(true)
  expect(['', '1a', 'a-b', 'a b'].some(isVariableName)).toBe(false)
})

it('secrets are guessed', () => {
  expect(['OPENAI_API_KEY', 'token', 'DB_PASSWORD'].every(looksSecret)).toBe(true)
  expect(['KEYBOARD', 'LANG', 'TOKENIZERS_PARALLELISM'].some(looksSecret)).toBe(false)
})
