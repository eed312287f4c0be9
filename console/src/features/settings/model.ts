/** The manager and this browser, as they are shown. Pure. */
import type { Finding, FindingLevel, InfoView } from '@/api/schema.gen'
import type { Tone } from '@/ui/StatusTag.vue'

export const levelTones: Record<FindingLevel, Tone> = { ok: 'good', warning: 'warn', broken: 'bad' }

const worstFirst: Record<FindingLevel, number> = { broken: 0, warning: 1, ok: 2 }

/** What was found: what is to be done about, the worst first, and what is well. */
export function sorted(findings: readonly Finding[]): { bad: Finding[]; well: Finding[] } {
  const byLevel = [...findings].sort((a, b) => worstFirst[a.level] - worstFirst[b.level])
  return { bad: byLevel.filter(({ level }) => level !== 'ok'), well: byLevel.filter(({ level }) => level === 'ok') }
}

/** Where the manager listens. */
interface Listener {
  kind: string
  url: string
}

const schemes: Record<string, string> = { api: 'http', proxy: 'ws' }

export function listenersOf({ listeners }: Pick<InfoView, 'listeners'>): Listener[] {
  return Object.entries(listeners)
    .sort(([a], [b]) => a.localeCompare(b))
    .flatMap(([kind, addresses]) => addresses.map((address) => ({ kind, url: `${schemes[kind] ?? kind}://${address}` })))
}

/** The file with the manager's settings. */
export function configFile({ data_dir }: Pick<InfoView, 'data_dir'>): string {
  return `${data_dir.replace(/\/$/, '')}/config.toml`
}

/** What Prometheus needs to ask the manager at `host` for its metrics. */
export function scrapeConfig(host: string): string {
  return [
    'scrape_configs:',
    '  - job_name: myagent',
    '    honor_labels: true',
    '    static_configs:',
    `      - targets: ["${host}"]`,
  ].join('\n')
}

/** A few settings, as they are written there. */
export const EXAMPLE = ['retention_days = 30', 'max_connections = 0', 'default_strategy = "round_robin"', 'log_level = "info"'].join('\n')

/** Puts what was changed there into force. */
export const UPGRADE = 'myagent-manager upgrade'

/** Everything that the manager serves besides the console. */
export const links = [
  { name: 'docs', href: '/docs/' },
  { name: 'openapi', href: '/openapi.json' },
  { name: 'metrics', href: '/metrics' },
  { name: 'health', href: '/health' },
] as const
