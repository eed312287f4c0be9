import { describe, expect, it } from 'vitest'
import type { InstanceView, ServiceView } from '@/api/schema.gen'
import { adviceFor, exitText, isTroubled, logWindow, someOf, troublesOf, type Trouble } from './cause'

const instance = (name: string, more: Partial<InstanceView> = {}) =>
  ({ name, status: 'running', restart_count: 0, error_message: null, last_exit: null, next_try: null, last_lines: [], ...more }) as InstanceView
const service = (...instances: InstanceView[]) => ({ instances }) as ServiceView
const ended = { cause: { kind: 'code', code: 1 } as const, at: '2026-01-02T03:04:05Z' }

describe('an instance is in trouble', () => {
  it('when it is in error, unhealthy, or started again after it ended', () => {
    expect(isTroubled(instance('a', { status: 'error' }))).toBe(true)
    expect(isTroubled(instance('a', { status: 'unhealthy' }))).toBe(true)
    expect(isTroubled(instance('a', { status: 'starting', next_try: '2026-01-02T03:04:06Z' }))).toBe(true)
    expect(isTroubled(instance('a', { status: 'starting', last_exit: ended, restart_count: 1 }))).toBe(true)
  })

  it('and not when it runs, stops, or is started by somebody, whatever was before', () => {
    expect(isTroubled(instance('a', { last_exit: ended, restart_count: 3 }))).toBe(false)
    expect(isTroubled(instance('a', { status: 'stopped', last_exit: ended }))).toBe(false)
    expect(isTroubled(instance('a', { status: 'starting', last_exit: ended }))).toBe(false)
  })
})

describe('what is wrong', () => {
  it('is told once for all instances that fail alike, with the next time that one is tried', () => {
    const failed = { status: 'error', error_message: 'no file', last_exit: ended, restart_count: 2, last_lines: ['x'] } as const
    const troubles = troublesOf(
      service(
        instance('a-0', { ...failed, next_try: '2026-01-02T03:09:00Z', last_lines: ['x'] }),
        instance('a-1', { ...failed, next_try: '2026-01-02T03:08:00Z', last_lines: ['y'] }),
        instance('a-2', { ...failed, next_try: null, last_lines: [] }),
      ),
    )
    expect(troubles).toEqual([
      {
        instances: ['a-0', 'a-1', 'a-2'], state: 'error', message: 'no file', exit: { kind: 'code', code: 1 }, at: '2026-01-02T03:04:05Z',
        lines: ['x'], nextTry: '2026-01-02T03:08:00Z', restarts: 6,
      },
    ])
  })

  it('has the worst first, and what runs not at all', () => {
    const troubles = troublesOf(
      service(
        instance('a-0', { status: 'starting', next_try: '2026-01-02T03:09:00Z' }),
        instance('a-1', { status: 'unhealthy' }),
        instance('a-2'),
        instance('a-3', { status: 'error' }),
      ),
    )
    expect(troubles.map(({ instances }) => instances[0])).toEqual(['a-3', 'a-1', 'a-0'])
  })

  it.each([
    ['exit code 1', ''],
    ['killed by signal 9 (KILL)', ''],
    ['exit code 1; gave up after 3 restarts in a row', 'exit code 1; gave up after 3 restarts in a row'],
  ])('has no message that says only how it ended: %s', (told, message) => {
    expect(troublesOf(service(instance('a', { status: 'error', error_message: told, last_exit: ended })))[0]?.message).toBe(message)
  })

  it('is not how it ended once, if it does not answer now', () => {
    const [trouble] = troublesOf(service(instance('a', { status: 'unhealthy', last_exit: ended })))
    expect([trouble?.exit, trouble?.at]).toEqual([undefined, undefined])
  })
})

describe('what can be done', () => {
  const trouble = (more: Partial<Trouble>) => ({ state: 'error', exit: undefined, ...more }) as Trouble
  const file = { kind: 'file', path: '/a.py' } as const

  it('depends on how it ended, or on what it does not do', () => {
    expect(adviceFor(trouble({ exit: { kind: 'oom', limit_mb: 64 } }), file)).toBe('oom')
    expect(adviceFor(trouble({ state: 'unhealthy' }), file)).toBe('checks')
    expect(adviceFor(trouble({}), file)).toBe('start')
  })

  it('is elsewhere for what runs elsewhere', () => {
    expect(adviceFor(trouble({ state: 'unhealthy' }), { kind: 'external', url: 'ws://x/' })).toBe('endpoint')
  })
})

it('how something ended has a text of its own', () => {
  expect(exitText({ kind: 'code', code: 3 })).toEqual({ key: 'code', parts: { code: 3 } })
  expect(exitText({ kind: 'code', code: 0 })).toEqual({ key: 'done', parts: {} })
  expect(exitText({ kind: 'signal', signal: 9 })).toEqual({ key: 'signal', parts: { signal: 'SIGKILL' } })
  expect(exitText({ kind: 'signal', signal: 64 })).toEqual({ key: 'signal', parts: { signal: '64' } })
  expect(exitText({ kind: 'oom', limit_mb: 64 })).toEqual({ key: 'oom', parts: { limit: 64 } })
  expect(exitText({ kind: 'load_failed', message: 'x' })).toEqual({ key: 'load_failed', parts: {} })
})

it('the log is shown from a while before', () => {
  expect(logWindow('2026-01-02T03:04:05.5Z')).toEqual({
    since: '2026-01-02T03:03:05.500Z', until: '2026-01-02T03:04:15.500Z', at: '2026-01-02T03:04:05.500Z',
  })
  expect(logWindow('soon')).toEqual({ since: '', until: '', at: '' })
})

it('of many names the first are told', () => {
  expect(someOf(['a', 'b'])).toEqual({ shown: 'a, b', more: 0 })
  expect(someOf(['a', 'b', 'c', 'd', 'e'])).toEqual({ shown: 'a, b, c', more: 2 })
})
