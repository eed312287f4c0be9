/** Where the front door of the manager is, as seen from this page. Pure. */

export type Door = { kind: 'open'; base: string } | { kind: 'closed' } | { kind: 'elsewhere'; address: string }

interface Page {
  /** Without the port: `127.0.0.1`, `[::1]`, `console.example.org`. */
  hostname: string
  protocol: string
}

const WILDCARDS = new Set(['0.0.0.0', '[::]'])
const LOOPBACK = /^(127(\.\d+){3}|localhost|\[::1\])$/

/** The listener that this page reaches: one of its own host, else one of all hosts, else a loopback one for a loopback page. */
export function doorOf(listeners: readonly string[], page: Page): Door {
  const all = listeners.map(split)
  const local = LOOPBACK.test(page.hostname)
  const same = all.find(({ host }) => host === page.hostname) ?? all.find(({ host }) => WILDCARDS.has(host))
  const found = same ?? all.find(({ host }) => local && LOOPBACK.test(host)) ?? all.find(({ host }) => !LOOPBACK.test(host))
  const [first] = listeners
  if (first === undefined) return { kind: 'closed' }
  if (!found) return { kind: 'elsewhere', address: first }
  const scheme = page.protocol === 'https:' ? 'wss' : 'ws'
  const host = [found.host, page.hostname].includes('[::1]') && LOOPBACK.test(found.host) ? found.host : page.hostname
  return { kind: 'open', base: `${scheme}://${host}:${found.port}` }
}

function split(address: string): { host: string; port: string } {
  const at = address.lastIndexOf(':')
  return { host: address.slice(0, at), port: address.slice(at + 1) }
}

/** The service's address; `session` brings us to the instance that has it, and `events` tells us when that changes. */
export function addressOf(base: string, service: string, session: string | undefined): string {
  const query = new URLSearchParams({ events: '1', ...(session !== undefined && { session_id: session }) })
  return `${base}/s/${encodeURIComponent(service)}/?${query}`
}
