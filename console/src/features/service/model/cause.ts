/** What is wrong with a service, and what can be done about it. Pure. */
import type { ExitCause, InstanceView, ServiceView } from '@/api/schema.gen'
import { asTime } from '@/ui/format'

/** One thing that is wrong, with all instances that it is wrong with. */
export interface Trouble {
  instances: string[]
  state: InstanceView['status']
  message: string
  exit: ExitCause | undefined
  /** When it ended; RFC 3339. */
  at: string | undefined
  /** The last lines of output before. */
  lines: string[]
  /** When the next of them is started again; RFC 3339. */
  nextTry: string | undefined
  restarts: number
}

/** Key of a text that says what can be done. */
export type Advice = ExitCause['kind'] | 'endpoint' | 'checks' | 'start'

export function isTroubled(instance: InstanceView): boolean {
  if (instance.status === 'error' || instance.status === 'unhealthy') return true
  // It waits to be started again, or is, after it ended by itself.
  return instance.status === 'starting' && (instance.next_try != null || (instance.last_exit != null && instance.restart_count > 0))
}

const urgency: Partial<Record<InstanceView['status'], number>> = { error: 0, unhealthy: 1 }

/** A message that says only how it ended; that is told in words of the language. */
const ONLY_EXIT = /^(exit code \d+|killed by signal \d+( \(\w+\))?|oom: passed memory_limit_mb=\d+|its runner process was lost|stopped)$/

/** What is wrong, the worst first; instances that fail alike are told together. */
export function troublesOf(service: ServiceView): Trouble[] {
  const found = new Map<string, Trouble>()
  for (const instance of service.instances.filter(isTroubled)) {
    const exit = instance.status === 'unhealthy' ? undefined : instance.last_exit?.cause
    const told = instance.error_message ?? ''
    const message = exit && ONLY_EXIT.test(told) ? '' : told
    const key = JSON.stringify([instance.status, message, exit])
    const known = found.get(key)
    if (known) {
      known.instances.push(instance.name)
      known.nextTry = earlier(known.nextTry, instance.next_try ?? undefined)
      known.restarts += instance.restart_count
      continue
    }
    found.set(key, {
      instances: [instance.name],
      state: instance.status,
      message,
      exit,
      at: exit ? instance.last_exit?.at : undefined,
      lines: instance.last_lines ?? [],
      nextTry: instance.next_try ?? undefined,
      restarts: instance.restart_count,
    })
  }
  return [...found.values()].sort((a, b) => (urgency[a.state] ?? 2) - (urgency[b.state] ?? 2))
}

function earlier(a: string | undefined, b: string | undefined): string | undefined {
  if (a === undefined || b === undefined) return a ?? b
  return Date.parse(b) < Date.parse(a) ? b : a
}

export function adviceFor(trouble: Trouble, source: ServiceView['source']): Advice {
  if (source.kind === 'external') return 'endpoint'
  if (trouble.exit) return trouble.exit.kind
  return trouble.state === 'unhealthy' ? 'checks' : 'start'
}

const SIGNALS: Record<number, string> = {
  1: 'SIGHUP', 2: 'SIGINT', 3: 'SIGQUIT', 4: 'SIGILL', 6: 'SIGABRT', 7: 'SIGBUS', 8: 'SIGFPE', 9: 'SIGKILL', 11: 'SIGSEGV', 13: 'SIGPIPE', 15: 'SIGTERM',
}

/** Key and parts of the text that says how something ended. */
export function exitText(cause: ExitCause): { key: string; parts: Record<string, string | number> } {
  switch (cause.kind) {
    case 'code':
      return cause.code === 0 ? { key: 'done', parts: {} } : { key: 'code', parts: { code: cause.code } }
    case 'signal':
      return { key: 'signal', parts: { signal: SIGNALS[cause.signal] ?? String(cause.signal) } }
    case 'oom':
      return { key: 'oom', parts: { limit: cause.limit_mb } }
    default:
      return { key: cause.kind, parts: {} }
  }
}

/** The stretch of the log in which the reason of what happened `at` is likely to stand. */
export function logWindow(at: string, beforeMs = 60_000, afterMs = 10_000): { since: string; until: string; at: string } {
  const ms = Date.parse(at)
  return { since: asTime(ms - beforeMs), until: asTime(ms + afterMs), at: asTime(ms) }
}

/** Names in one line, of many only the first. */
export function someOf(names: readonly string[], most = 3): { shown: string; more: number } {
  return { shown: names.slice(0, most).join(', '), more: Math.max(0, names.length - most) }
}
