import { describe, expect, it } from 'vitest'
import { parseArgv, quoteArgv, quoteWord, throughEnv } from './argv'

describe('command lines', () => {
  it.each([
    ['', []],
    ['  node   server.js ', ['node', 'server.js']],
    [`sh -c 'a "b" c'`, ['sh', '-c', 'a "b" c']],
    [String.raw`say "two \"words\"" one\ word`, ['say', 'two "words"', 'one word']],
    [String.raw`"a\nb"`, [String.raw`a\nb`]],
    [`a'b'"c"d`, ['abcd']],
    [`x '' ""`, ['x', '', '']],
    ['a \\\n b', ['a', 'b']],
    ['--port={port}', ['--port={port}']],
  ])('%s', (line, argv) => expect(parseArgv(line)).toEqual({ argv, open: false, shell: [] }))

  it.each([`a 'b`, 'a "b', 'a\\'])('%s is not finished', (line) => expect(parseArgv(line).open).toBe(true))

  it('names what only a shell understands', () => {
    expect(parseArgv('a | b > $HOME/c').shell).toEqual(['|', '>', '$'])
    expect(parseArgv(`sh -c 'a | b > $HOME'`).shell).toEqual([])
    expect(parseArgv('"$HOME"').shell).toEqual(['$'])
    expect(parseArgv(String.raw`a \| "\$x"`)).toEqual({ argv: ['a', '|', '$x'], open: false, shell: [] })
  })
})

describe('quoting', () => {
  it.each([['a-b_c=1', 'a-b_c=1'], ['', `''`], ['a b', `'a b'`], [`it's`, `'it'\\''s'`], ['$x', `'$x'`], ['ü', `'ü'`]])('%s is %s', (word, text) =>
    expect(quoteWord(word)).toBe(text),
  )
  it('is what is read again', () => {
    const argv = ['/bin/sh', '-c', `echo "it's" $HOME | cat \\`, '', 'a\nb', '#']
    expect(parseArgv(quoteArgv(argv))).toEqual({ argv, open: false, shell: [] })
  })
})

it('finds programs by name', () => expect(throughEnv(' node x.js')).toBe('/usr/bin/env node x.js'))
