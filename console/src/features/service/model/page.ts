/** What the page of a service shows, and how. Pure. */
import type { Event, InfoView, InstanceView, ServiceView } from '@/api/schema.gen'

export const tabs = ['overview', 'instances', 'health', 'connections', 'logs', 'events', 'config'] as const

export type Tab = (typeof tabs)[number]

export function tabOf(param: unknown): Tab {
  return tabs.find((tab) => tab === param) ?? 'overview'
}

/** Addresses at which clients reach the service through the proxy. One that listens everywhere is reached at `host`, as this page. */
export function addressesOf(name: string, info: Pick<InfoView, 'listeners'> | undefined, host: string): string[] {
  const addresses = (info?.listeners.proxy ?? []).map((listener) => listener.replace(/^(0\.0\.0\.0|\[::\])(?=:\d+$)/, host.includes(':') ? `[${host.replace(/^\[|\]$/g, '')}]` : host))
  return [...new Set(addresses)].map((address) => `ws://${address}/s/${encodeURIComponent(name)}/`)
}

/** How many places are taken, and of how many; no limit: only how many. */
export function placesOf(instance: Pick<InstanceView, 'active_connections'>, config: ServiceView['config']): { taken: number; of: number | undefined } {
  const limit = config.max_sessions
  return { taken: instance.active_connections, of: limit > 0 ? limit : undefined }
}

/** What can be asked of a service as it is. */
export function possible(service: Pick<ServiceView, 'status' | 'desired' | 'source'>): { start: boolean; stop: boolean; restart: boolean; scale: boolean; talk: boolean } {
  const wanted = service.desired === 'running'
  return {
    // What has failed may be tried at once, and not only when the manager does.
    start: !wanted || service.status === 'error',
    stop: wanted || service.status !== 'stopped',
    restart: wanted && service.status !== 'error',
    scale: service.source.kind !== 'external',
    talk: service.status === 'running',
  }
}

/** Those of `kind` (`instance`, `connection`…; empty: all), the newest first. */
export function eventsShown(events: readonly Event[], kind: string): Event[] {
  return events.filter((event) => kind === '' || event.kind.startsWith(`${kind}.`)).sort((a, b) => b.id - a.id)
}
