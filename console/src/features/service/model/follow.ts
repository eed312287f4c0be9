/** Following a log across broken streams, without gaps and without lines that come twice. Pure. */
import { parsed } from '@/api/json'
import type { LogLine } from '@/api/schema.gen'
import { levels, timeOf } from '@/features/logs/model'
import { isTime } from '@/ui/format'
import { stripAnsi } from '@/ui/log/ansi'
import type { LogEntry } from '@/ui/log/lines'

/** Lines of several instances come in order only nearly; so far back it is asked again after a break. */
const OVERLAP_MS = 5_000
/** Most lines that are remembered to know them again. */
const REMEMBERED = 20_000

export interface LogFilter {
  /** At least so severe; empty: all. */
  level: string
  /** Of this instance only; empty: of all. */
  instance: string
  /** RFC 3339; empty: from the newest lines on. */
  since: string
}

/** What stands in the address, without what nobody could mean. */
export function readFilter<T extends LogFilter & { until: string; at: string }>(text: T): T {
  return {
    ...text,
    level: levels.find((level) => level === text.level) ?? '',
    since: timeOf(text.since) ?? '',
    until: timeOf(text.until) ?? '',
    at: timeOf(text.at) ?? '',
  }
}

/** The address of the stream. */
export function followUrl(service: string, filter: LogFilter, tail: number): string {
  const query = new URLSearchParams({ follow: 'true', tail: String(tail) })
  for (const [key, value] of Object.entries(filter)) if (value !== '') query.set(key, String(value))
  return `/api/v1/services/${encodeURIComponent(service)}/logs?${query.toString()}`
}

/** A line of the stream; none if it is garbage. */
export function readLine(data: string): LogLine | undefined {
  const value = parsed(data) as LogLine | undefined | null
  const { line, ts } = (value ?? {}) as Partial<LogLine>
  return typeof line === 'string' && isTime(Date.parse(String(ts))) ? (value ?? undefined) : undefined
}

export function entryOf(line: LogLine): Omit<LogEntry, 'id'> {
  return { at: Date.parse(line.ts), source: line.instance, stream: line.stream, level: line.level ?? '', text: stripAnsi(line.line) }
}

const identity = (line: LogLine) => JSON.stringify([line.ts, line.instance, line.stream, line.line])

/** Knows where to go on after a break, and which lines were there before it. */
export class Resume {
  private recent: { at: number; key: string }[] = []
  private newest = -Infinity
  private known = new Map<string, number>()

  /** From when on to ask again; nothing: there was no line yet. Begins to refuse lines that were there. */
  again(): string | undefined {
    const first = this.recent[0]
    if (first === undefined) return undefined
    this.known = new Map()
    for (const { key } of this.recent) this.known.set(key, (this.known.get(key) ?? 0) + 1)
    const whole = this.recent.length < REMEMBERED
    const from = whole ? this.newest - OVERLAP_MS : this.recent.reduce((least, { at }) => Math.min(least, at), Infinity)
    return new Date(from).toISOString()
  }

  /** Whether `line` is new. Equal lines of one millisecond are as many as there are. */
  take(line: LogLine): boolean {
    const key = identity(line)
    const known = this.known.get(key) ?? 0
    if (known > 0) {
      this.known.set(key, known - 1)
      return false
    }
    const at = Date.parse(line.ts)
    this.newest = Math.max(this.newest, at)
    this.recent.push({ at, key })
    if (this.recent.length > 2 * REMEMBERED || (this.recent[0]?.at ?? at) < this.newest - 2 * OVERLAP_MS) this.forget()
    return true
  }

  private forget() {
    this.recent = this.recent.filter(({ at }) => at >= this.newest - OVERLAP_MS).slice(-REMEMBERED)
  }
}
