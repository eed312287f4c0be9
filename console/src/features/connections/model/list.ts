/** How connections are found and put in order. Pure, and quick enough for tens of thousands. */
import type { ConnectionStatus, ConnectionView } from '@/api/schema.gen'
import type { Tone } from '@/ui/StatusTag.vue'

/** A connection with what is known of it elsewhere. */
export interface Row extends ConnectionView {
  /** Name of its service; that of its instance tells it, too, if the service is gone. */
  service: string
  openedMs: number
  activeMs: number
}

export const statusTones: Record<ConnectionStatus, Tone> = { active: 'good', idle: 'idle', closing: 'warn' }

export function rowsOf(connections: readonly ConnectionView[], names: ReadonlyMap<string, string>): Row[] {
  return connections.map((connection) => ({
    ...connection,
    service: names.get(connection.target_service_id) ?? serviceOfInstance(connection.instance),
    openedMs: Date.parse(connection.connected_at),
    activeMs: Date.parse(connection.last_activity),
  }))
}

/** `weather-0` is of `weather`. */
export const serviceOfInstance = (instance: string) => instance.replace(/-\d+$/, '')

export interface ConnectionFilter {
  search: string
  service: string
  status: string
  rule: string
  /** Name of an instance, or none for all. */
  instance: string
  strategy: string
}

export const noFilter: ConnectionFilter = { search: '', service: '', status: '', rule: '', instance: '', strategy: '' }

/** What stands for connections without a rule or without a strategy. */
export const NONE = '-'
/** The API's word for connections that came to the instance's own port. */
const DIRECT = 'direct'

export function filterRows(rows: readonly Row[], filter: ConnectionFilter): readonly Row[] {
  const words = filter.search.toLowerCase().split(/\s+/).filter(Boolean)
  const is = (wanted: string, value: string) => wanted === '' || wanted === value
  return rows.filter(
    (row) =>
      is(filter.service, row.service) &&
      is(filter.status, row.status) &&
      is(filter.instance, row.instance) &&
      is(filter.rule, row.rule ?? NONE) &&
      is(filter.strategy, row.routing_strategy ?? DIRECT) &&
      words.every((word) => haystack(row).includes(word)),
  )
}

const haystacks = new WeakMap<Row, string>()

function haystack(row: Row): string {
  const known = haystacks.get(row)
  if (known !== undefined) return known
  const made = [row.connection_id, row.session_id, `${row.client_ip}:${row.client_port}`, row.user_agent, row.instance, row.rule, row.service]
    .join('\n')
    .toLowerCase()
  haystacks.set(row, made)
  return made
}

type SortKey = 'client' | 'service' | 'instance' | 'status' | 'rule' | 'age' | 'activity' | 'messages' | 'traffic'

const sortValues: Record<SortKey, (row: Row) => number | string> = {
  client: (row) => addressKey(row.client_ip),
  service: (row) => row.service,
  instance: (row) => row.instance,
  status: (row) => row.status,
  rule: (row) => row.rule ?? '',
  // The shortest time is that of the newest.
  age: (row) => -row.openedMs,
  activity: (row) => row.activeMs,
  messages: (row) => row.message_count,
  traffic: (row) => row.bytes_sent + row.bytes_received,
}

/** `10.0.0.9` comes before `10.0.0.10`. */
export const addressKey = (address: string) => address.replace(/\d+/g, (digits) => digits.padStart(5, '0'))

/** By `sort`, with `-` before it for descending; then the newest first. */
export function sortRows(rows: readonly Row[], sort: string): Row[] {
  const descending = sort.startsWith('-')
  const key = descending ? sort.slice(1) : sort
  const value = Object.hasOwn(sortValues, key) ? sortValues[key as SortKey] : sortValues.age
  const sign = descending ? -1 : 1
  return rows
    .map((row) => ({ row, value: value(row) }))
    .sort((a, b) => sign * compare(a.value, b.value) || compare(b.row.connection_id, a.row.connection_id))
    .map(({ row }) => row)
}

function compare(a: number | string, b: number | string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

/** What there is to choose from, and what is chosen though it is not there just now. */
export function choices(rows: readonly Row[], value: (row: Row) => string, chosen: string): string[] {
  const found = new Set(rows.map(value))
  if (chosen !== '') found.add(chosen)
  return [...found].sort()
}

/** Those of `selected` that are still there; the others have closed. */
export function stillOpen(selected: ReadonlySet<string>, rows: readonly Row[]): ReadonlySet<string> {
  if (selected.size === 0) return selected
  const open = new Set(rows.map((row) => row.connection_id))
  const left = [...selected].filter((id) => open.has(id))
  return left.length === selected.size ? selected : new Set(left)
}

const QUICK_MS = 2_000
const SLOW_MS = 5_000
const MANY = 1_000

/** Thousands of connections are asked for less often. */
export const refreshMs = (connections: number) => (connections > MANY ? SLOW_MS : QUICK_MS)
