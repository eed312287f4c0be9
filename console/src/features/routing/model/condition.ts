/** Conditions as people read and write them. Pure. */
import type { Condition, Operator } from '@/api/schema.gen'

/** What a field's name begins with; `other` is a bare name: the header of that name, else the query parameter. */
export const fieldKinds = [
  'client_ip', 'client_port', 'user_agent',
  'path', 'host', 'header', 'query', 'cookie',
  'session_id', 'service', 'tag', 'other',
] as const
export type FieldKind = (typeof fieldKinds)[number]

/** How the kinds are offered. */
export const fieldGroups: readonly { name: 'client' | 'request' | 'naming'; kinds: readonly FieldKind[] }[] = [
  { name: 'client', kinds: ['client_ip', 'user_agent', 'client_port'] },
  { name: 'request', kinds: ['header', 'query', 'cookie', 'path', 'host'] },
  { name: 'naming', kinds: ['session_id', 'service', 'tag', 'other'] },
]

const NAMED = new Set<FieldKind>(['header', 'query', 'cookie', 'other'])

/** Whether a kind says something only with a name behind it. */
export const isNamed = (kind: FieldKind) => NAMED.has(kind)

export interface FieldParts {
  kind: FieldKind
  name: string
}

/** `header.x-tier` is a header named `x-tier`. */
export function readField(field: string): FieldParts {
  const text = field.trim()
  const dot = text.indexOf('.')
  const space = (dot < 0 ? text : text.slice(0, dot)).toLowerCase()
  if (dot > 0 && (space === 'header' || space === 'query' || space === 'cookie')) return { kind: space, name: text.slice(dot + 1) }
  const lower = text.toLowerCase()
  const known = fieldKinds.find((kind) => kind === lower && !isNamed(kind))
  return known ? { kind: known, name: '' } : { kind: 'other', name: text }
}

export function writeField({ kind, name }: FieldParts): string {
  if (!isNamed(kind)) return kind
  return kind === 'other' ? name.trim() : `${kind}.${name.trim()}`
}

export const operators: readonly Operator[] = [
  'equals', 'not_equals', 'contains', 'not_contains', 'starts_with', 'ends_with',
  'in_list', 'not_in_list', 'ip_in_range', 'regex_match', 'exists', 'not_exists',
]

export type ValueKind = 'none' | 'text' | 'list' | 'networks' | 'regex'

/** What an operator compares with. */
export function valueKind(operator: Operator): ValueKind {
  switch (operator) {
    case 'exists':
    case 'not_exists':
      return 'none'
    case 'in_list':
    case 'not_in_list':
      return 'list'
    case 'ip_in_range':
      return 'networks'
    case 'regex_match':
      return 'regex'
    default:
      return 'text'
  }
}

/** Whether upper and lower case can make a difference. */
export const caseMatters = (operator: Operator) => !['none', 'networks'].includes(valueKind(operator))

/** What a value may look like. */
export const exampleOf: Readonly<Partial<Record<Operator, string>>> = {
  equals: 'gold',
  not_equals: 'gold',
  contains: 'Mobile',
  not_contains: 'bot',
  starts_with: '/chat',
  ends_with: '.example.com',
  regex_match: '^v[23]$',
  in_list: 'gold, silver',
  not_in_list: 'test, staging',
  ip_in_range: '10.0.0.0/8, 192.168.1.7',
}

/** A value of any form as the texts that it stands for: `"a, b"` of a list is two. */
export function valuesOf(operator: Operator, value: unknown): string[] {
  if (value === undefined || value === null) return []
  if (Array.isArray(value)) return value.map(String)
  const text = typeof value === 'object' ? JSON.stringify(value) : String(value)
  const kind = valueKind(operator)
  if (kind === 'none') return []
  return kind === 'list' || kind === 'networks' ? splitList(text) : [text]
}

/** `a, b` is two; JSON is what it says. */
export function splitList(text: string): string[] {
  if (text.trim().startsWith('[')) {
    try {
      const parsed: unknown = JSON.parse(text)
      if (Array.isArray(parsed)) return parsed.map(String)
    } catch {
      // No JSON: a text with a bracket in it.
    }
  }
  return text.split(',').map((part) => part.trim()).filter(Boolean)
}

/** A condition while it is written: what one operator does not need is kept for the next. */
export interface ConditionForm {
  kind: FieldKind
  name: string
  operator: Operator
  text: string
  list: string[]
  caseSensitive: boolean
}

export const newCondition = (): ConditionForm => ({ kind: 'header', name: '', operator: 'equals', text: '', list: [], caseSensitive: false })

export function readCondition(condition: Condition): ConditionForm {
  const values = valuesOf(condition.operator, condition.value)
  const many = ['list', 'networks'].includes(valueKind(condition.operator))
  return {
    ...readField(condition.field),
    operator: condition.operator,
    text: many ? '' : (values[0] ?? ''),
    list: many ? values : [],
    caseSensitive: condition.case_sensitive ?? false,
  }
}

export function writeCondition(form: ConditionForm): Condition {
  const condition: Condition = { field: writeField(form), operator: form.operator }
  const kind = valueKind(form.operator)
  if (kind === 'list' || kind === 'networks') condition.value = form.list
  else if (kind !== 'none') condition.value = form.text
  if (form.caseSensitive && caseMatters(form.operator)) condition.case_sensitive = true
  return condition
}

/** Another operator for the same condition: what was written goes along, from a text to a list and back. */
export function withOperator(form: ConditionForm, operator: Operator): ConditionForm {
  const many = (of: Operator) => ['list', 'networks'].includes(valueKind(of))
  if (many(operator) && !many(form.operator) && form.list.length === 0 && form.text.trim() !== '') {
    return { ...form, operator, list: splitList(form.text) }
  }
  if (!many(operator) && many(form.operator) && form.text === '') return { ...form, operator, text: form.list[0] ?? '' }
  return { ...form, operator }
}

/** Another field: an address is looked for in networks, unless somebody chose otherwise. */
export function withKind(form: ConditionForm, kind: FieldKind): ConditionForm {
  const blank = form.text === '' && form.list.length === 0
  const operator = blank && kind === 'client_ip' ? 'ip_in_range' : blank && form.operator === 'ip_in_range' ? 'equals' : form.operator
  return { ...form, kind, operator }
}
