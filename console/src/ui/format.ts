/** How numbers, sizes and times are written. Pure: the language and the time are arguments. */

/** Formats of the platform are slow to make, and a table needs the same few hundreds of times. */
const made = new Map<string, unknown>()

function once<T>(key: string, make: () => T): T {
  if (!made.has(key)) made.set(key, make())
  return made.get(key) as T
}

/** What rounds to nothing is `0`, never `-0`. */
const numbers = (language: string, options: Intl.NumberFormatOptions) =>
  once(`number ${language} ${JSON.stringify(options)}`, () => new Intl.NumberFormat(language, { ...options, signDisplay: 'negative' }))

/**
 * All languages of the console write numbers below a thousand alike, so most need no format of the platform: making the
 * first few takes tens of milliseconds, in which a page is built. Undefined: it has separators.
 */
function plain(value: number, digits: number): string | undefined {
  if (!(Math.abs(value) < 999)) return undefined
  // What rounds to nothing has no sign.
  return String(Number(value.toFixed(digits)) || 0)
}

const BYTE_UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const

/** `1536` → `1.5 KiB`. */
export function bytes(value: number): string {
  let unit = 0
  let size = value
  while (size >= 1024 && unit < BYTE_UNITS.length - 1) {
    size /= 1024
    unit += 1
  }
  return `${unit === 0 || size >= 100 ? Math.round(size) : size.toFixed(1)} ${BYTE_UNITS[unit] ?? ''}`
}

/** A whole number with the separators of the language; from ten thousand on in short, as `12.3K`. */
export function count(value: number, language: string): string {
  if (Math.abs(value) < 10_000) return plain(value, 0) ?? numbers(language, { maximumFractionDigits: 0 }).format(value)
  return numbers(language, { notation: 'compact', maximumFractionDigits: 1 }).format(value)
}

/** A number with as many digits as say something. */
export function decimal(value: number, language: string): string {
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2
  return plain(value, digits) ?? numbers(language, { maximumFractionDigits: digits }).format(value)
}

/** A part of one, as `12.5%`. */
export function percent(value: number, language: string): string {
  const digits = value < 0.1 ? 2 : 1
  const text = plain(value * 100, digits)
  return text === undefined ? numbers(language, { style: 'percent', maximumFractionDigits: digits }).format(value) : `${text}%`
}

/** A span as a clock shows it: `4:07`, `1:02:03`, `3d 04:00:00`. */
export function ticking(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000))
  const two = (part: number) => String(part).padStart(2, '0')
  const [days, hours, minutes] = [Math.floor(seconds / 86_400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60]
  const tail = `${two(minutes)}:${two(seconds % 60)}`
  if (days > 0) return `${days}d ${two(hours)}:${tail}`
  return hours > 0 ? `${hours}:${tail}` : `${minutes}:${two(seconds % 60)}`
}

/** A span in words: `340 ms`, `2.5 s`, `3 min`, `2 h`, `5 d`. */
export function span(ms: number): string {
  if (ms < 1000) return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`
  const seconds = ms / 1000
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`
  if (seconds < 86_400) return `${(seconds / 3600).toFixed(seconds < 36_000 ? 1 : 0)} h`
  return `${(seconds / 86_400).toFixed(seconds < 864_000 ? 1 : 0)} d`
}

type Unit = 'day' | 'hour' | 'minute' | 'second'

const STEPS: [Unit, number][] = [
  ['day', 86_400_000],
  ['hour', 3_600_000],
  ['minute', 60_000],
  ['second', 1_000],
]

/**
 * How long ago it was, or how long until then, in the unit that fits; the texts have the words (`time.ago.minute`), as a
 * format of the platform takes longer to be made than the rest of the page. Below two seconds: nothing.
 */
export function relative(at: number, now: number): { when: 'ago' | 'until'; unit: Unit; n: number } | undefined {
  const difference = Math.abs(at - now)
  const step = STEPS.find(([unit, size]) => difference >= size * (unit === 'second' ? 2 : 1))
  return step && { when: at < now ? 'ago' : 'until', unit: step[0], n: Math.trunc(difference / step[1]) }
}

const LAST_TIME = 8.64e15

/** Whether there is such a time: a text that is none, of an address or of another manager, must not break a page. */
export const isTime = (at: number) => Math.abs(at) <= LAST_TIME

/** A time as the API reads it; nothing of what is none. */
export const asTime = (at: number) => (isTime(at) ? new Date(at).toISOString() : '')

/** A moment in the user's zone, to the second. */
export function moment(at: number, language: string): string {
  if (!isTime(at)) return '–'
  return once(`moment ${language}`, () => new Intl.DateTimeFormat(language, { dateStyle: 'medium', timeStyle: 'medium' })).format(at)
}
