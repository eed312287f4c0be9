import { describe, expect, it } from 'vitest'
import type { InstanceView } from '@/api/schema.gen'
import { expectation, hear, isOutcome, type Expectation } from './outcome'

const instance = (name: string, status: string) => ({ name, status }) as InstanceView
const service = (...instances: InstanceView[]) => ({ name: 'a', replicas: 2, instances })
const event = (kind: string, name = 'a-1') => ({ kind, service: 'a', instance: name, why: 'because' })
const waiting = (expected: Expectation) => [...expected.waiting]

describe('what is expected', () => {
  it('of a start are those that do not run, also those that are not there yet', () => {
    expect(waiting(expectation('start', service(instance('a-0', 'running'))))).toEqual(['a-1'])
  })
  it('of a restart are all', () => {
    expect(waiting(expectation('restart', service(instance('a-0', 'running'), instance('a-1', 'running'))))).toEqual(['a-0', 'a-1'])
  })
  it('of a restart of what is stopped are those that are wanted', () => {
    expect(waiting(expectation('restart', service()))).toEqual(['a-0', 'a-1'])
  })
  it('of a stop are those that are not stopped', () => {
    expect(waiting(expectation('stop', service(instance('a-0', 'stopped'), instance('a-1', 'stopping'))))).toEqual(['a-1'])
  })
})

describe('what came of it', () => {
  const start: Expectation = { action: 'start', service: 'a', waiting: new Set(['a-0', 'a-1']) }
  it('is known when all have said so', () => {
    const next = hear(start, event('instance.running', 'a-0'))
    if (isOutcome(next)) throw new Error('too early')
    expect(waiting(next)).toEqual(['a-1'])
    expect(hear(next, event('instance.running'))).toEqual({ done: true })
  })
  it('is a failure when one fails', () => expect(hear(start, event('instance.error'))).toEqual({ done: false, why: 'because' }))
  it('is not told by others', () => {
    expect(hear(start, { ...event('instance.error'), service: 'b' })).toBe(start)
    expect(hear(start, event('instance.error', 'a-7'))).toBe(start)
    expect(hear(start, event('instance.exited'))).toBe(start)
  })
  it('of a stop is that it is stopped', () => {
    const stop: Expectation = { action: 'stop', service: 'a', waiting: new Set(['a-1']) }
    expect(hear(stop, event('instance.error'))).toBe(stop)
    expect(hear(stop, event('instance.stopped'))).toEqual({ done: true })
  })
  it('is known at once if nothing is expected', () => {
    expect(hear({ ...start, waiting: new Set() }, event('x'))).toEqual({ done: true })
  })
})
