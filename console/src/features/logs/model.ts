/** Searching the output of all services: what is asked, and how what was found is shown. Pure. */
import type { FoundLine, LogLevel } from '@/api/schema.gen'
import { asTime, isTime } from '@/ui/format'

export const levels: readonly LogLevel[] = ['trace', 'debug', 'info', 'warn', 'error']
export const streams = ['stdout', 'stderr', 'runner'] as const
export const limits = [200, 500, 1000, 2000] as const

/** How far back, in ms; of `all` there is no bound. */
export const ranges = { '15m': 900_000, '1h': 3_600_000, '6h': 21_600_000, '24h': 86_400_000, '7d': 604_800_000, all: undefined } as const

export type Range = keyof typeof ranges

export function isRange(value: string): value is Range {
  return Object.hasOwn(ranges, value)
}

/** What stands in the address. Times are RFC 3339; they win over `range`. */
export interface Search {
  q: string
  /** Names, separated by commas. */
  service: string
  level: string
  stream: string
  range: string
  since: string
  until: string
  limit: string
}

export interface Query {
  q?: string
  service?: string
  level?: LogLevel
  stream?: (typeof streams)[number]
  since?: string
  until?: string
  limit: number
}

/** What the manager is asked; what nobody could mean is left out. */
export function queryOf(search: Search, now: number): Query {
  const back = isRange(search.range) ? ranges[search.range] : ranges['24h']
  const since = timeOf(search.since) ?? (back === undefined || timeOf(search.until) !== undefined ? undefined : new Date(now - back).toISOString())
  const limit = Number(search.limit)
  return {
    q: search.q || undefined,
    service: search.service || undefined,
    level: levels.find((level) => level === search.level),
    stream: streams.find((stream) => stream === search.stream),
    since,
    until: timeOf(search.until),
    limit: Number.isInteger(limit) && limit >= 1 && limit <= 2000 ? limit : limits[1],
  }
}

/** A time of the address as the manager reads it; none if it is no time. */
export function timeOf(text: string): string | undefined {
  const ms = Date.parse(text)
  return Number.isNaN(ms) ? undefined : new Date(ms).toISOString()
}

/** Whether anything was asked for: all lines of all services are none that anybody looks for. */
export function isAsked(search: Search): boolean {
  return [search.q, search.service, search.level, search.stream, search.since, search.until].some((value) => value !== '')
}

/** Lines of one instance, the newest first. */
export interface Group {
  service: string
  instance: string
  lines: FoundLine[]
}

/** In the order of the newest line of each, as the lines come. */
export function groupsOf(lines: readonly FoundLine[]): Group[] {
  const groups = new Map<string, Group>()
  for (const line of lines) {
    const key = `${line.service}\n${line.instance}`
    const group = groups.get(key) ?? { service: line.service, instance: line.instance, lines: [] }
    group.lines.push(line)
    groups.set(key, group)
  }
  return [...groups.values()]
}

const AROUND_MS = 30_000

/** The query of the page of the service's logs that shows what was printed around a line. */
export function around(line: Pick<FoundLine, 'ts' | 'instance'>): { since: string; until: string; at: string; instance: string } {
  const at = Date.parse(line.ts)
  return { since: asTime(at - AROUND_MS), until: asTime(at + AROUND_MS), at: asTime(at), instance: line.instance }
}

/** A time for an input of a form (in the user's zone), and back. */
export function toInput(time: string): string {
  const ms = Date.parse(time)
  if (Number.isNaN(ms)) return ''
  const local = ms - new Date(ms).getTimezoneOffset() * 60_000
  // In the zone of the user the last of all times may be none; an input shows years of four digits.
  return isTime(local) ? (/^\d{4}-.{14}/.exec(new Date(local).toISOString())?.[0] ?? '') : ''
}

export function fromInput(value: string): string {
  const ms = Date.parse(value)
  return Number.isNaN(ms) ? '' : new Date(ms).toISOString()
}
