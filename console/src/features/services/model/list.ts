/** How a service is shown and found. Pure. */
import type { Health, InstanceState, ServiceView } from '@/api/schema.gen'
import type { Tone } from '@/ui/StatusTag.vue'

export const stateTones: Record<InstanceState, Tone> = {
  running: 'good',
  starting: 'busy',
  stopping: 'busy',
  unhealthy: 'warn',
  error: 'bad',
  stopped: 'idle',
}

export const healthTones: Record<Health, Tone> = { healthy: 'good', degraded: 'warn', unhealthy: 'bad', unknown: 'idle' }

/** Worst first: what somebody looks for. */
export const statesByUrgency = ['error', 'unhealthy', 'stopping', 'starting', 'running', 'stopped'] as const

export interface ServiceFilter {
  /** Words that all stand in name, description, tags or source. */
  search: string
  status: string
  tag: string
}

export function filterServices(services: readonly ServiceView[], filter: ServiceFilter): ServiceView[] {
  const words = filter.search.toLowerCase().split(/\s+/).filter(Boolean)
  return services.filter(
    (service) =>
      (filter.status === '' || service.status === filter.status) &&
      (filter.tag === '' || service.tags.includes(filter.tag)) &&
      words.every((word) => haystack(service).includes(word)),
  )
}

function haystack(service: ServiceView): string {
  return [service.name, service.description, ...service.tags, sourceText(service.source)].join('\n').toLowerCase()
}

/** What is run, in one line. */
export function sourceText(source: ServiceView['source']): string {
  switch (source.kind) {
    case 'file':
      return source.path
    case 'command':
      return source.argv.join(' ')
    case 'external':
      return source.url
  }
}

export type SortKey = 'name' | 'status' | 'instances' | 'connections' | 'restarts' | 'memory' | 'cpu' | 'started'

export const runningOf = (service: ServiceView) => service.instances.filter((instance) => instance.status === 'running').length
export const cpuOf = (service: ServiceView) => service.instances.reduce((sum, instance) => sum + instance.cpu_percent, 0)
export const memoryOf = (service: ServiceView) => service.instances.reduce((sum, instance) => sum + instance.memory_mb, 0)

const sortValues: Record<SortKey, (service: ServiceView) => number | string> = {
  name: (service) => service.name,
  status: (service) => statesByUrgency.indexOf(service.status),
  instances: runningOf,
  connections: (service) => service.stats.active_connections,
  restarts: (service) => service.restart_count,
  memory: memoryOf,
  cpu: cpuOf,
  started: (service) => service.started_at ?? '',
}

/** By `sort`, with `-` before it for descending; then by name. */
export function sortServices(services: readonly ServiceView[], sort: string): ServiceView[] {
  const descending = sort.startsWith('-')
  const key = descending ? sort.slice(1) : sort
  const value = Object.hasOwn(sortValues, key) ? sortValues[key as SortKey] : sortValues.name
  const sign = descending ? -1 : 1
  return services
    .map((service) => ({ service, value: value(service) }))
    .sort((a, b) => sign * compare(a.value, b.value) || compare(a.service.name, b.service.name))
    .map(({ service }) => service)
}

function compare(a: number | string, b: number | string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

/** All tags there are, in order. */
export function tagsOf(services: readonly ServiceView[]): string[] {
  return [...new Set(services.flatMap((service) => service.tags))].sort()
}

/** How many services there are in each state that there is, the worst first. */
export function countStates(services: readonly ServiceView[]): { state: InstanceState; count: number }[] {
  return statesByUrgency
    .map((state) => ({ state, count: services.filter((service) => service.status === state).length }))
    .filter(({ count }) => count > 0)
}

/** What of `rows` is on `page` (from 1); a page that is not there is the nearest one. */
export function pageOf<T>(rows: readonly T[], page: number, size: number): { rows: T[]; page: number; pages: number } {
  const pages = Math.max(1, Math.ceil(rows.length / size))
  const shown = Math.min(Math.max(1, Math.trunc(page) || 1), pages)
  return { rows: rows.slice((shown - 1) * size, shown * size), page: shown, pages }
}

/** `names` in parts of `size`: a long list is done in steps, so that it can be seen how far it is. */
export function chunks<T>(names: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(names.length / size) }, (_, index) => names.slice(index * size, (index + 1) * size))
}

/** Whether something is or will be there to be stopped. */
export const canStop = (service: ServiceView) => service.status !== 'stopped' && service.status !== 'stopping'
export const canStart = (service: ServiceView) => service.status === 'stopped' || service.status === 'error'
