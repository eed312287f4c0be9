import { count, decimal, percent, span } from '@/ui/format'
import type { Attention, Overview, Recent, Severity } from '@/api/schema.gen'
import type { Tone } from '@/ui/StatusTag.vue'

/** States in the order in which the bar shows them: what works first, then what does not. */
const barStates = ['running', 'starting', 'stopping', 'unhealthy', 'error', 'stopped'] as const
type BarState = (typeof barStates)[number]

/** A part of the bar of services. */
export interface Segment {
  state: BarState
  services: number
  /** Its width, percent. */
  share: number
}

/** The states that some service is in. */
export function segments(services: Overview['services']): Segment[] {
  const total = barStates.reduce((sum, state) => sum + (services[state] ?? 0), 0)
  return barStates
    .map((state) => ({ state, services: services[state] ?? 0, share: ((services[state] ?? 0) / Math.max(1, total)) * 100 }))
    .filter((segment) => segment.services > 0)
}

/** Nothing was ever registered, or nothing is any more. */
export function isEmpty({ services }: Pick<Overview, 'services'>): boolean {
  return (services.total ?? 0) === 0
}

const severityTones: Record<Severity, Tone> = { critical: 'bad', warning: 'warn', info: 'idle' }

/** What to do about something: where to look, and what can be done at once. */
interface Remedy {
  look: 'logs' | 'health' | 'service'
  act?: 'start' | 'restart'
}

const remedies: ReadonlyMap<string, Remedy> = new Map<string, Remedy>([
  ['error', { look: 'logs', act: 'start' }],
  ['unhealthy', { look: 'logs', act: 'restart' }],
  ['restarting', { look: 'logs' }],
  ['outdated', { look: 'service', act: 'restart' }],
  ['restart_required', { look: 'service', act: 'restart' }],
])

/** What runs elsewhere has no logs here, and nobody here can restart it. */
const remedyOf = (what: string, kind: string): Remedy =>
  kind === 'external' ? { look: 'health' } : (remedies.get(what) ?? { look: 'service' })

/** One thing that needs attention. Instances of a service that have the same are one. */
export interface Trouble extends Remedy {
  key: string
  severity: Severity
  tone: Tone
  service: string
  instances: string[]
  what: string
  why: string
}

const worstFirst: Record<Severity, number> = { critical: 0, warning: 1, info: 2 }

/** What needs attention, the worst first; otherwise in the order of the manager. */
export function troubles(attention: readonly Attention[]): Trouble[] {
  const found = new Map<string, Trouble>()
  for (const { severity, service, agent_type, instance, what, why } of attention) {
    const key = [severity, service, what, why].join('\n')
    const known = found.get(key)
    if (known) known.instances.push(instance)
    else {
      found.set(key, { ...remedyOf(what, agent_type), key, severity, tone: severityTones[severity], service, instances: [instance], what, why })
    }
  }
  return [...found.values()].sort((a, b) => worstFirst[a.severity] - worstFirst[b.severity])
}

/** Where the cause is to be seen. */
export function placeOf({ look, service }: Pick<Trouble, 'look' | 'service'>): string {
  const page = `/services/${encodeURIComponent(service)}`
  return look === 'service' ? page : `${page}/${look}`
}

/** What happened each second of the last minute; nothing if it was not measured. */
export function perSecond(recent: Recent, ...what: ('messages_in' | 'messages_out' | 'connections')[]): number | undefined {
  if (recent.measured_seconds === 0) return undefined
  return what.reduce((sum, name) => sum + recent[name], 0) / recent.measured_seconds
}

/** The share of the last minute's turns that failed; nothing without turns. */
export function errorRate({ measured_seconds, turns_completed, turns_failed }: Recent): number | undefined {
  const turns = turns_completed + turns_failed
  return measured_seconds === 0 || turns === 0 ? undefined : turns_failed / turns
}

const TOLERABLE = 0.05

export function errorTone(rate: number | undefined): Tone | undefined {
  if (rate === undefined || rate === 0) return undefined
  return rate > TOLERABLE ? 'bad' : 'warn'
}

/** Nothing to be told. */
export const DASH = '–'

const written = (value: number | undefined, write: (value: number) => string) => (value === undefined ? DASH : write(value))

/** The numbers of the cards, as they are written. */
export function figures(overview: Overview, firstResponse: { p50?: number; p90?: number }, language: string) {
  const { recent, sessions, connections } = overview
  const rate = (value: number | undefined) => written(value, (each) => decimal(each, language))
  const time = (seconds: number | undefined) => written(seconds, (each) => span(each * 1000))
  const failures = errorRate(recent)
  return {
    connections: count(connections.total_connections, language),
    opened: written(recent.measured_seconds === 0 ? undefined : recent.connections, (value) => count(value, language)),
    sessions: count(sessions.active, language),
    detached: count(sessions.detached, language),
    messages: rate(perSecond(recent, 'messages_in', 'messages_out')),
    messagesIn: rate(perSecond(recent, 'messages_in')),
    messagesOut: rate(perSecond(recent, 'messages_out')),
    errors: written(failures, (value) => percent(value, language)),
    errorTone: errorTone(failures),
    failed: count(recent.turns_failed, language),
    turns: count(recent.turns_completed + recent.turns_failed, language),
    p50: time(firstResponse.p50),
    p90: time(firstResponse.p90),
    restarts: count(overview.restarts, language),
    cpu: percent(overview.cpu_percent / 100, language),
    memory: memory(overview.memory_mb, language),
    ready: count(overview.instances.running ?? 0, language),
    instances: count(Object.values(overview.instances).reduce((sum, each) => sum + each, 0), language),
  }
}

/** MiB as they are written: `91 MiB`, `1.2 GiB`. */
export function memory(mebibytes: number, language: string): string {
  if (mebibytes < 1024) return `${decimal(mebibytes, language)} MiB`
  return `${decimal(mebibytes / 1024, language)} GiB`
}

/** Since when, for a number that is as old as `asOf` (ms). */
export function runningFor(uptimeSeconds: number, asOf: number, now: number): number {
  return uptimeSeconds * 1000 + Math.max(0, now - asOf)
}
