/** The command that does what the form does. Pure. */
import type { Condition, NewRule } from '@/api/schema.gen'

/** A word as a POSIX shell takes it. */
export function quote(word: string): string {
  if (/^[\w@%+=:,./-]+$/.test(word)) return word
  return `'${word.replaceAll("'", `'\\''`)}'`
}

/** An option with its value: a value that begins with a dash must not look like an option. */
const option = (name: string, value: string) => (value.startsWith('-') && name !== '--when' && name !== '--priority' ? quote(`${name}=${value}`) : `${name} ${quote(value)}`)

/** What a command cannot say: then the rule goes in by a file. */
function sayable(rule: NewRule): boolean {
  const conditions = rule.conditions ?? []
  const sensitive = conditions.filter((condition) => condition.case_sensitive).length
  const names = [
    ...(rule.target_services ?? []),
    ...(rule.target_tags ?? []),
    ...(rule.split ?? []).map((share) => share.tag ?? share.service ?? ''),
    ...(rule.weight !== null && typeof rule.weight === 'object' ? Object.keys(rule.weight) : []),
  ]
  return (
    (sensitive === 0 || conditions.every((condition) => condition.case_sensitive || !takesCase(condition))) &&
    conditions.every(conditionSayable) &&
    names.every((name) => !/[,=]/.test(name)) &&
    (rule.split ?? []).every((share) => share.tag || !(share.service ?? '').includes(':'))
  )
}

const takesCase = ({ operator }: Condition) => !['exists', 'not_exists', 'ip_in_range'].includes(operator)

/** The command trims a value, and takes none for none at all. */
function conditionSayable({ operator, value }: Condition): boolean {
  if (Array.isArray(value) || operator === 'exists' || operator === 'not_exists') return true
  const text = String(value ?? '')
  return text !== '' && text === text.trim()
}

/** FIELD OPERATOR VALUE. A list is written with commas, unless a value has one. */
export function whenText({ field, operator, value }: Condition): string {
  if (value === undefined || value === null) return `${field} ${operator}`
  if (!Array.isArray(value)) return `${field} ${operator} ${String(value)}`
  const texts = value.map(String)
  const simple = texts.every((text) => text === text.trim() && text !== '' && !text.includes(',')) && !(texts[0] ?? '').startsWith('[')
  return `${field} ${operator} ${simple ? texts.join(', ') : JSON.stringify(texts)}`
}

/** What each field is called on the command line. */
const options: Record<keyof NewRule, (rule: NewRule) => string[]> = {
  name: (rule) => [option('--name', rule.name)],
  conditions: ({ conditions }) => [
    ...(conditions ?? []).map((condition) => option('--when', whenText(condition))),
    ...(conditions?.some((condition) => condition.case_sensitive) ? ['--case-sensitive'] : []),
  ],
  target_services: ({ target_services }) => [option('--to', (target_services ?? []).join(','))],
  target_tags: ({ target_tags }) => [option('--to-tag', (target_tags ?? []).join(','))],
  tag_match: ({ target_tags }) => (target_tags?.length ? ['--any-tag'] : []),
  target_strategy: (rule) => [option('--strategy', rule.target_strategy ?? '')],
  fallback_strategy: (rule) => [option('--fallback', rule.fallback_strategy ?? '')],
  split: ({ split }) => [
    option('--split', (split ?? []).map((share) => `${share.tag ? `tag:${share.tag}` : (share.service ?? '')}=${share.percent}`).join(',')),
  ],
  hash_key: (rule) => [option('--hash-key', rule.hash_key ?? '')],
  weight: ({ weight }) => [option('--weight', weightText(weight ?? 1))],
  priority: (rule) => [option('--priority', String(rule.priority))],
  description: (rule) => [option('--description', rule.description ?? '')],
  enabled: () => ['--disabled'],
  allow_hint: () => ['--no-hint'],
}

const fields = Object.keys(options) as (keyof NewRule)[]
const defaults: Partial<NewRule> = { priority: 100, enabled: true, allow_hint: true, tag_match: 'all' }
const alike = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b)
const isDefault = (rule: NewRule, field: keyof NewRule) => rule[field] === undefined || rule[field] === null || alike(rule[field], defaults[field])

/** Lines of the command that makes a rule, or that makes the rule `before` say this. */
export function commandLines(rule: NewRule, before?: NewRule): string[] {
  if (!sayable(rule)) return fromFile(rule, before?.name)
  const changed = fields.filter((field) => (before ? !alike(rule[field], before[field]) : field !== 'name' && !isDefault(rule, field)))
  const verb = before === undefined ? 'add' : changed.length === 0 ? 'show' : 'update'
  const name = before?.name ?? rule.name
  const last = name.startsWith('-')
  const lines = [`myagent-manager route ${verb}${last ? '' : ` ${argument(name)}`}`]
  lines.push(...changed.filter((field) => !isDefault(rule, field) || field === 'priority').flatMap((field) => options[field](rule)))
  // Any of the tags can only be said together with the tags.
  if (before && rule.tag_match === 'any' && changed.includes('tag_match') && !changed.includes('target_tags')) lines.push(...options.target_tags(rule))
  const unset = before ? changed.filter((field) => isDefault(rule, field) && field !== 'priority') : []
  if (unset.length > 0) lines.push(option('--unset', unset.join(',')))
  if (last) lines.push(argument(name))
  return lines
}

const weightText = (weight: NonNullable<NewRule['weight']>) =>
  typeof weight === 'number' ? String(weight) : Object.entries(weight).map(([service, value]) => `${service}=${value}`).join(',')

/** A name that begins with a dash is no option; it comes last, as all behind it is none either. */
const argument = (name: string) => (name.startsWith('-') ? `-- ${quote(name)}` : quote(name === '' ? 'NAME' : name))

function fromFile(rule: NewRule, update: string | undefined): string[] {
  const name = update ?? rule.name
  const verb = update === undefined ? 'add' : 'update'
  return [`printf %s ${quote(JSON.stringify(rule))} |`, `myagent-manager route ${verb} --file - ${argument(name)}`]
}

/** One command of several lines, as it is pasted. */
export function commandText(rule: NewRule, before?: NewRule): string {
  const lines = commandLines(rule, before)
  return lines[0]?.endsWith('|') ? lines.join('\n  ') : lines.join(' \\\n  ')
}
