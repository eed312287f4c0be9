import { describe, expect, it } from 'vitest'
import type { ServiceView } from '@/api/schema.gen'
import { registerCommand, updateCommand } from './cli'
import { check, told } from './check'
import { changesBody, diff } from './diff'
import { emptyForm, facts, formOf, newService, sourceOf, type ServiceForm } from './form'
import { settings } from './settings'

const defaults = Object.fromEntries(settings.map((setting) => [setting.key, setting.initial]))
const service = {
  name: 'weather',
  description: 'It rains',
  tags: ['chat'],
  source: { kind: 'command', argv: ['/bin/sh', '-c', 'a b'], cwd: '/srv', path: null },
  host: '127.0.0.1',
  port: 8088,
  replicas: 2,
  config: { ...defaults, max_sessions: 5, auto_restart: false, memory_limit_mb: undefined },
  environment: { LANG: 'C' },
  secrets: ['API_KEY'],
} as unknown as ServiceView

const filled = (changes: Partial<ServiceForm>): ServiceForm => ({ ...emptyForm('file'), name: 'w', file: { path: '/a.py', python: '', worker: '' }, ...changes })
const edited = (change: (form: ServiceForm) => void) => {
  const form = formOf(service)
  change(form)
  return form
}
const changesOf = (change: (form: ServiceForm) => void) => diff(formOf(service), edited(change))
const bodyOf = (change: (form: ServiceForm) => void) => changesBody(changesOf(change), edited(change))

describe('a form of a service', () => {
  it('leaves what has its default empty', () => {
    const form = formOf(service)
    expect(form.settings).toMatchObject({ max_sessions: '5', auto_restart: false, memory_limit_mb: '', stop_grace: '' })
    expect([form.host, form.port, form.replicas, form.command.line]).toEqual(['', '', '2', `/bin/sh -c 'a b'`])
    expect(form.secrets).toEqual([{ key: 'API_KEY', value: '', stored: true, fate: 'keep' }])
  })
  it('shows a fixed port, and gives it back', () => {
    const fixed = { ...service, replicas: 1, fixed_port: 8088 }
    expect(formOf(fixed).port).toBe('8088')
    const back = { ...formOf(fixed), port: '' }
    expect(changesBody(diff(formOf(fixed), back), back)).toEqual({ port: 0 })
  })
  it('of a file and of an endpoint', () => {
    expect(formOf({ ...service, source: { kind: 'file', path: '/a.py', python: '/p' } }).file).toEqual({ path: '/a.py', python: '/p', worker: '' })
    expect(sourceOf(formOf({ ...service, source: { kind: 'external', url: 'ws://x' } }))).toEqual({ kind: 'external', url: 'ws://x' })
  })
  it('that is not touched changes nothing', () => expect(changesOf(() => undefined)).toEqual([]))
})

describe('a body that registers', () => {
  it('says only what is not the default', () => {
    expect(newService(filled({}))).toEqual({ name: 'w', source: { kind: 'file', path: '/a.py' }, auto_start: true })
  })
  it('says all the rest', () => {
    const form = filled({ tags: ['a'], replicas: '3', port: '9000', autoStart: false, environment: [{ key: 'A', value: '' }, { key: '', value: 'x' }], secrets: [{ key: 'K', value: 'v', stored: false, fate: 'keep' }] })
    form.settings.stop_grace = '5'
    expect(newService(form)).toEqual({
      name: 'w', source: { kind: 'file', path: '/a.py' }, auto_start: false, tags: ['a'], replicas: 3, port: 9000,
      config: { stop_grace: 5 }, environment: { A: '' }, secrets: { K: 'v' },
    })
  })
  it('leaves what is no number to the API', () => expect(facts(filled({ replicas: 'x' })).get('replicas')).toBe('x'))
})

describe('changes', () => {
  it('of a setting', () => {
    const change = (form: ServiceForm) => (form.settings.max_sessions = '')
    expect(changesOf(change)).toEqual([{ field: 'config.max_sessions', before: 5, after: 0, restart: true, secret: false }])
    expect(bodyOf(change)).toEqual({ config: { max_sessions: 0 } })
  })
  it('that are in force at once', () => {
    expect(changesOf((form) => (form.settings.weight = '2')).map((change) => change.restart)).toEqual([false])
    expect(changesOf((form) => (form.description = '')).map((change) => change.restart)).toEqual([false])
  })
  it('of a limit to none', () => {
    const limited = { ...service, config: { ...service.config, memory_limit_mb: 100 } }
    const after = formOf(limited)
    after.settings.memory_limit_mb = ''
    expect(changesBody(diff(formOf(limited), after), after)).toEqual({ config: { memory_limit_mb: null } })
  })
  it('of a source send all of it', () => {
    expect(bodyOf((form) => (form.command.path = '/ws'))).toEqual({ source: { kind: 'command', argv: ['/bin/sh', '-c', 'a b'], cwd: '/srv', path: '/ws' } })
    expect(changesOf((form) => (form.command.line = '/bin/x'))).toMatchObject([{ field: 'source.argv', before: ['/bin/sh', '-c', 'a b'], after: ['/bin/x'] }])
  })
  it('of variables', () => {
    expect(bodyOf((form) => (form.environment = [{ key: 'TZ', value: 'UTC' }]))).toEqual({ environment: { LANG: null, TZ: 'UTC' } })
  })
  it('of secrets never show a value', () => {
    const change = (form: ServiceForm) => {
      form.secrets = [{ key: 'API_KEY', value: 'v1', stored: true, fate: 'replace' }, { key: 'NEW', value: 'v2', stored: false, fate: 'keep' }]
    }
    expect(changesOf(change)).toEqual([
      { field: 'secrets.API_KEY', before: true, after: true, restart: true, secret: true },
      { field: 'secrets.NEW', before: undefined, after: true, restart: true, secret: true },
    ])
    expect(bodyOf(change)).toEqual({ secrets: { API_KEY: 'v1', NEW: 'v2' } })
    expect(bodyOf((form) => (form.secrets = [{ key: 'API_KEY', value: 'x', stored: true, fate: 'remove' }]))).toEqual({ secrets: { API_KEY: null } })
  })
})

describe('the command line', () => {
  it('registers a file', () => {
    const form = filled({ description: "it's", tags: ['a', 'b'], environment: [{ key: 'A', value: 'x y' }], secrets: [{ key: 'K', value: 'never shown', stored: false, fate: 'keep' }] })
    Object.assign(form.settings, { max_sessions: '5', stop_grace: '2', auto_restart: false, ready: 'log:Up .*' })
    form.file.python = '/py'
    expect(registerCommand(form).split(' \\\n  ')).toEqual([
      'myagent-manager register w /a.py', '--python /py', '--auto-start', `--description 'it'\\''s'`, '--tags a,b', '--max-sessions 5', `--set 'ready=log:Up .*'`,
      '--no-auto-restart', '--set stop_grace=2', `--env 'A=x y'`, '--secret K',
    ])
  })
  it('registers a command where it runs', () => {
    const form: ServiceForm = { ...emptyForm('command'), autoStart: false, command: { line: '/bin/a "b c"', cwd: '/x y', path: '/ws' } }
    expect(registerCommand(form)).toBe(`cd '/x y' &&\nmyagent-manager register NAME \\\n  --path /ws \\\n  -- /bin/a 'b c'`)
  })
  it('has names for what is not there yet', () => {
    expect(registerCommand(emptyForm('file'))).toContain('NAME FILE')
    expect(registerCommand(emptyForm('command'))).toContain('-- COMMAND')
    expect(registerCommand(emptyForm('external'))).toContain('--endpoint URL')
  })
  it('updates what has changed', () => {
    const after = edited((form) => {
      form.description = '-1'
      form.tags = []
      form.settings.max_sessions = '7'
      form.environment = []
      form.secrets = [{ key: 'API_KEY', value: '', stored: true, fate: 'remove' }]
    })
    expect(updateCommand(formOf(service), after).split(' \\\n  ')).toEqual([
      'myagent-manager update weather', '--description=-1', `--tags ''`, '--max-sessions 7', '--unset-env LANG', '--unset-secret API_KEY',
    ])
    expect(updateCommand(formOf(service), formOf(service))).toBe('')
  })
  it('updates a source as a whole', () => {
    expect(updateCommand(formOf(service), edited((form) => (form.command.line = '/bin/x')))).toBe('cd /srv &&\nmyagent-manager update weather \\\n  -- /bin/x')
  })
})

describe('faults', () => {
  const keysOf = (form: ServiceForm) => check(form).map(({ field, key }) => `${field} ${key}`)
  it('are none in what is right', () => expect(keysOf(filled({}))).toEqual([]))
  it('of what is missing are told when it is to be saved', () => {
    expect(keysOf(emptyForm('file'))).toEqual(['name empty', 'source.path empty'])
    expect(told(check(emptyForm('external')), false)).toEqual([])
    expect(told(check(emptyForm('external')), true)).toHaveLength(2)
  })
  it.each(['A', '-a', 'a b', 'a'.repeat(64)])('%s is no name', (name) => expect(keysOf(filled({ name }))).toEqual(['name name']))
  it.each(['new', 'batch'])('%s is a word of ours', (name) => expect(keysOf(filled({ name }))).toEqual(['name reserved']))
  it('of files', () => {
    expect(keysOf(filled({ file: { path: 'a.py', python: '/a', worker: 'b' } }))).toEqual(['source.path absolute', 'source.worker absolute', 'source.worker both'])
  })
  it.each([['node x', 'program'], ['"/a', 'quote'], ['', 'empty']])('of the command %s', (line, key) => {
    expect(keysOf({ ...filled({}), kind: 'command', command: { line, cwd: '', path: '' } })).toEqual([`source.argv ${key}`])
  })
  it('of paths of a command', () => {
    expect(keysOf({ ...filled({}), kind: 'command', command: { line: '/a', cwd: 'x', path: 'ws' } })).toEqual(['source.cwd absolute', 'source.path wsPath'])
  })
  it.each(['http://x', 'ws://', 'x'])('%s is no endpoint', (url) => expect(keysOf({ ...filled({}), kind: 'external', external: { url } })).toEqual(['source.url url']))
  it('of numbers, tags, variables', () => {
    const form = filled({ port: '70000', replicas: '0', tags: ['a b'], environment: [{ key: '1', value: '' }, { key: 'A', value: '' }, { key: 'A', value: '' }], secrets: [{ key: 'K', value: '', stored: false, fate: 'keep' }] })
    form.settings.max_sessions = 'x'
    expect(keysOf(form)).toEqual(['tags tag', 'port range', 'replicas range', 'config.max_sessions range', 'environment.1 variable', 'environment.A twice', 'secrets.K noValue'])
  })
})
