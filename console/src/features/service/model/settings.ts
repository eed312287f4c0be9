/** The settings of a service: what differs from the default, what a change would change, what cannot be read. Pure. */
import type { FieldError, ServiceConfig } from '@/api/schema.gen'
import { faultyLine } from './jsonFault'

export type Value = string | number | boolean | null | object
export type Values = Record<string, Value>

export interface Setting {
  key: string
  value: Value
  fallback: Value
  changed: boolean
}

/** The OpenAPI document as far as it is of use: it names all settings with their defaults. */
export interface ApiDocument {
  components: { schemas: { ServiceConfig: { properties: Record<string, { default?: unknown }> } } }
}

export function defaultsOf(document: ApiDocument): Values {
  const properties = document.components.schemas.ServiceConfig.properties
  return Object.fromEntries(Object.entries(properties).map(([key, property]) => [key, (property.default ?? null) as Value]))
}

/** All settings, those that are not given with their defaults, and those that nobody knows as they are. */
export function effective(given: Partial<ServiceConfig> | Values, defaults: Values): Values {
  return { ...defaults, ...(given as Values) }
}

/** In the order in which they are documented; those that differ from the default first. */
export function settingsOf(given: Partial<ServiceConfig> | Values, defaults: Values): Setting[] {
  const rows = Object.entries(effective(given, defaults)).map(([key, value]) => {
    const fallback = defaults[key] ?? null
    return { key, value, fallback, changed: !same(value, fallback) }
  })
  return [...rows.filter(({ changed }) => changed), ...rows.filter(({ changed }) => !changed)]
}

/** How a value is written: as JSON, so that the text `"1"` is not the number `1`. */
export const written = (value: Value | undefined): string => JSON.stringify(value ?? null)

const same = (a: Value | undefined, b: Value | undefined) => written(a) === written(b)

export interface Change {
  key: string
  before: Value
  after: Value
  /** It is set back to what it is by default. */
  reset: boolean
}

/** What is different when `after` holds in place of `before`. */
export function diffSettings(before: Partial<ServiceConfig> | Values, after: Values, defaults: Values): Change[] {
  const old = effective(before, defaults)
  const now = effective(after, defaults)
  const names = [...new Set([...Object.keys(old), ...Object.keys(now)])].sort()
  return names
    .filter((key) => !same(old[key], now[key]))
    .map((key) => ({ key, before: old[key] ?? null, after: now[key] ?? null, reset: !(key in after) || same(now[key], defaults[key]) }))
}

export type Parsed = { values: Values } | { problem: 'empty' | 'notObject' } | { problem: 'syntax'; line: number }

/** Reads what somebody typed; says where it cannot be read. */
export function parseSettings(text: string): Parsed {
  if (text.trim() === '') return { problem: 'empty' }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return { problem: 'syntax', line: faultyLine(text) ?? 1 }
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return { problem: 'notObject' }
  return { values: value as Values }
}

export const asJson = (values: Partial<ServiceConfig> | Values): string => `${JSON.stringify(values, undefined, 2)}\n`

/** The faults that the manager found, by setting; it names them with or without `config.` before. */
export function faultsOf(fields: readonly FieldError[]): { key: string; message: string }[] {
  return fields.map(({ field, message }) => ({ key: field.replace(/^config\./, ''), message }))
}
