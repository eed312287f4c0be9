import { readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import meanings from '@/features/services/locales/settings.en'
import { asJson, defaultsOf, diffSettings, effective, faultsOf, parseSettings, settingsOf, written, type ApiDocument } from './settings'

const document = JSON.parse(readFileSync(path.resolve(import.meta.dirname, '../../../../../docs/reference/openapi.json'), 'utf8')) as ApiDocument
const defaults = { max_sessions: 0, ready: 'ws', memory_limit_mb: null }

describe('the defaults', () => {
  it('are those of the document of the API', () => {
    expect(defaultsOf(document)).toMatchObject({ max_sessions: 0, ready: 'ws', memory_limit_mb: null, auto_restart: true })
  })

  it('belong to settings that all have a meaning', () => {
    expect(Object.keys(defaultsOf(document)).sort()).toEqual(Object.keys(meanings).sort())
  })

  it('hold for what is not given; what nobody knows stays', () => {
    expect(effective({ max_sessions: 5, colour: 'red' }, defaults)).toEqual({ max_sessions: 5, ready: 'ws', memory_limit_mb: null, colour: 'red' })
  })
})

it('what differs from the default comes first', () => {
  expect(settingsOf({ ready: 'tcp', max_sessions: 0 }, defaults)).toEqual([
    { key: 'ready', value: 'tcp', fallback: 'ws', changed: true },
    { key: 'max_sessions', value: 0, fallback: 0, changed: false },
    { key: 'memory_limit_mb', value: null, fallback: null, changed: false },
  ])
})

it('a value is written so that its kind is seen', () => {
  expect([written('1'), written(1), written(null), written(undefined)]).toEqual(['"1"', '1', 'null', 'null'])
})

describe('a change', () => {
  it('is each setting that is different, by name', () => {
    expect(diffSettings({ max_sessions: 5 }, { ready: 'tcp', max_sessions: 6 }, defaults)).toEqual([
      { key: 'max_sessions', before: 5, after: 6, reset: false },
      { key: 'ready', before: 'ws', after: 'tcp', reset: false },
    ])
  })

  it('of what is left out is its default', () => {
    expect(diffSettings({ max_sessions: 5, ready: 'ws' }, {}, defaults)).toEqual([{ key: 'max_sessions', before: 5, after: 0, reset: true }])
  })

  it('is none if only the way of writing differs', () => {
    expect(diffSettings({ ready: 'ws', max_sessions: 0 }, { max_sessions: 0 }, defaults)).toEqual([])
  })

  it('may be of a setting that nobody knows: the manager says what it thinks of it', () => {
    expect(diffSettings({}, { colour: 'red' }, defaults)).toEqual([{ key: 'colour', before: null, after: 'red', reset: false }])
  })
})

describe('what was typed', () => {
  it('is read', () => {
    expect(parseSettings(asJson({ max_sessions: 5 }))).toEqual({ values: { max_sessions: 5 } })
  })

  it('may be nothing, no object, or no JSON', () => {
    expect(parseSettings(' \n')).toEqual({ problem: 'empty' })
    expect(parseSettings('[1]')).toEqual({ problem: 'notObject' })
    expect(parseSettings('null')).toEqual({ problem: 'notObject' })
    expect(parseSettings('{"a": }')).toMatchObject({ problem: 'syntax' })
  })

  it('is told where it cannot be read', () => {
    expect(parseSettings('{\n  "a": 1,\n  "b": oops\n}')).toMatchObject({ line: 3 })
    expect(parseSettings('{\n  "a": 1')).toMatchObject({ line: 2 })
  })
})

it('faults are those of settings, however the manager names them', () => {
  expect(faultsOf([{ field: 'config.max_sessions', message: 'too many' }, { field: 'colour', message: 'unknown' }])).toEqual([
    { key: 'max_sessions', message: 'too many' }, { key: 'colour', message: 'unknown' },
  ])
})
