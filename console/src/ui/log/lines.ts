import { isTime } from '../format'

/** A line of a log, as it is shown. */
export interface LogEntry {
  /** Grows by one with each line. */
  id: number
  /** Milliseconds since 1970. */
  at: number
  /** Who printed it. */
  source: string
  /** Where it was printed: `stdout`, `stderr`. */
  stream: string
  /** How severe it is, if anybody knows: `error`, `warn`, `info`, `debug`, `trace`. */
  level: string
  text: string
}

/**
 * The newest lines, at most `most` of them, and, while somebody has paused, as many again that wait. Arrays that were
 * given out never change.
 */
export class LineBuffer {
  private shown: LogEntry[] = []
  private waiting: LogEntry[] = []
  private nextId = 1
  private held = false
  /** Lines that were dropped because there were too many, of those shown and of those that waited. */
  dropped = 0

  constructor(private readonly most: number) {}

  get lines(): readonly LogEntry[] {
    return this.shown
  }

  /** How many wait. */
  get waits(): number {
    return this.waiting.length
  }

  get paused(): boolean {
    return this.held
  }

  add(lines: readonly Omit<LogEntry, 'id'>[]) {
    const numbered = lines.map((line) => ({ ...line, id: this.nextId++ }))
    if (this.held) this.waiting = this.newest([...this.waiting, ...numbered])
    else if (numbered.length > 0) this.shown = this.newest([...this.shown, ...numbered])
  }

  pause() {
    this.held = true
  }

  resume() {
    this.held = false
    this.shown = this.newest([...this.shown, ...this.waiting])
    this.waiting = []
  }

  /** Forgets all lines; paused it stays. */
  clear() {
    this.shown = []
    this.waiting = []
    this.dropped = 0
  }

  private newest(lines: LogEntry[]): LogEntry[] {
    const over = lines.length - this.most
    if (over <= 0) return lines
    this.dropped += over
    return lines.slice(over)
  }
}

/** Lines as a text file: time, who, where, how severe, what. */
export function asText(lines: readonly Omit<LogEntry, 'id'>[]): string {
  return lines
    .map(({ at, source, stream, level, text }) => `${isTime(at) ? new Date(at).toISOString() : '-'} ${source} ${stream} ${(level || '-').toUpperCase()} ${text}\n`)
    .join('')
}

/** The time of a line on its day, to the millisecond, in the user's zone. */
export function clockTime(at: number): string {
  const date = new Date(at)
  const two = (part: number) => String(part).padStart(2, '0')
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${String(date.getMilliseconds()).padStart(3, '0')}`
}
