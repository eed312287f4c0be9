/** What came of an action, by the events that follow it. Pure. */
import type { Event, ServiceView } from '@/api/schema.gen'

/** What can be asked for of a service that takes its time. */
export type SlowAction = 'start' | 'stop' | 'restart' | 'scale'

export type Outcome = { done: true } | { done: false; why: string }

export interface Expectation {
  action: SlowAction
  service: string
  /** Instances of which nothing has been heard yet. */
  waiting: ReadonlySet<string>
}

/** What is expected after `action` was accepted; `answer` is the service as it was then. */
export function expectation(action: SlowAction, answer: Pick<ServiceView, 'name' | 'replicas' | 'instances'>): Expectation {
  const wanted = Array.from({ length: answer.replicas }, (_, index) => `${answer.name}-${index}`)
  const withState = (state: string) => answer.instances.filter((instance) => instance.status === state).map((instance) => instance.name)
  const over = new Set(withState(action === 'stop' ? 'stopped' : 'running'))
  const all = action === 'stop' ? answer.instances.map((instance) => instance.name) : wanted
  const waiting = action === 'restart' ? all : all.filter((name) => !over.has(name))
  return { action, service: answer.name, waiting: new Set(waiting) }
}

/** What is still expected after `event`, or what came of it. */
export function hear(expected: Expectation, event: Pick<Event, 'kind' | 'service' | 'instance' | 'why'>): Expectation | Outcome {
  if (expected.waiting.size === 0) return { done: true }
  if (event.service !== expected.service || !event.instance || !expected.waiting.has(event.instance)) return expected
  if (event.kind === 'instance.error' && expected.action !== 'stop') return { done: false, why: event.why }
  if (event.kind !== (expected.action === 'stop' ? 'instance.stopped' : 'instance.running')) return expected
  const waiting = new Set(expected.waiting)
  waiting.delete(event.instance)
  return waiting.size === 0 ? { done: true } : { ...expected, waiting }
}

/** Whether nothing more is to be heard. */
export const isOutcome = (value: Expectation | Outcome): value is Outcome => 'done' in value
