import type { Event } from '@/api/schema.gen'

export type Format = 'json' | 'csv'

const columns = ['id', 'at', 'who', 'kind', 'service', 'instance', 'why'] as const satisfies (keyof Event)[]

/** A cell as RFC 4180 wants it. What a spreadsheet would run as a formula is told by an apostrophe to be text. */
function cell(value: string | number | null | undefined): string {
  const text = String(value ?? '')
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}

export function toCsv(events: readonly Event[]): string {
  const rows = events.map((event) => columns.map((column) => cell(event[column])).join())
  return `${[columns.join(), ...rows].join('\r\n')}\r\n`
}

export function toJson(events: readonly Event[]): string {
  return `${JSON.stringify(events, null, 2)}\n`
}

/** What a file of events contains and is called. */
export function fileOf(events: readonly Event[], format: Format, now: Date): { name: string; type: string; text: string } {
  const stamp = now.toISOString().slice(0, 19).replaceAll(/[:T]/g, '-')
  return {
    name: `events-${stamp}.${format}`,
    type: format === 'csv' ? 'text/csv;charset=utf-8' : 'application/json',
    text: format === 'csv' ? toCsv(events) : toJson(events),
  }
}
