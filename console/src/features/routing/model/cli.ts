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

/** Lines of the command that makes a rule, or makes `update` (its name before) say this. */
export function commandLines(rule: NewRule, update?: string): string[] {
  if (!sayable(rule)) return fromFile(rule, update)
  const name = update ?? rule.name
  const command = `myagent-manager route ${update === undefined ? 'add' : 'update'}`
  const lines = [name.startsWith('-') ? command : `${command} ${argument(name)}`]
  if (update !== undefined && update !== rule.name) lines.push(option('--name', rule.name))
  for (const condition of rule.conditions ?? []) lines.push(option('--when', whenText(condition)))
  if ((rule.conditions ?? []).some((condition) => condition.case_sensitive)) lines.push('--case-sensitive')
  const list = (name: string, values: readonly string[] | null | undefined) => values?.length && lines.push(option(name, values.join(',')))
  list('--to', rule.target_services)
  list('--to-tag', rule.target_tags)
  if (rule.tag_match === 'any' && rule.target_tags?.length) lines.push('--any-tag')
  if (rule.target_strategy) lines.push(option('--strategy', rule.target_strategy))
  if (rule.fallback_strategy) lines.push(option('--fallback', rule.fallback_strategy))
  list('--split', rule.split?.map((share) => `${share.tag ? `tag:${share.tag}` : (share.service ?? '')}=${share.percent}`))
  if (rule.hash_key) lines.push(option('--hash-key', rule.hash_key))
  if (rule.weight !== null && rule.weight !== undefined) lines.push(option('--weight', weightText(rule.weight)))
  if (update !== undefined || (rule.priority ?? 100) !== 100) lines.push(option('--priority', String(rule.priority ?? 100)))
  if (rule.description) lines.push(option('--description', rule.description))
  if (rule.enabled === false) lines.push('--disabled')
  if (rule.allow_hint === false) lines.push('--no-hint')
  if (update !== undefined) list('--unset', unset(rule))
  if (name.startsWith('-')) lines.push(argument(name))
  return lines
}

const weightText = (weight: NonNullable<NewRule['weight']>) =>
  typeof weight === 'number' ? String(weight) : Object.entries(weight).map(([service, value]) => `${service}=${value}`).join(',')

/** An update changes only what it names; what the form leaves empty has to be named too. */
function unset(rule: NewRule): string[] {
  const fields = [
    'conditions', 'target_services', 'target_tags', 'target_strategy', 'fallback_strategy', 'split', 'hash_key', 'weight', 'description',
  ] as const
  const empty: string[] = fields.filter((field) => rule[field] === undefined || rule[field] === null)
  if (rule.tag_match !== 'any') empty.push('tag_match')
  if (rule.enabled !== false) empty.push('enabled')
  if (rule.allow_hint !== false) empty.push('allow_hint')
  return empty
}

/** A name that begins with a dash is no option; it comes last, as all behind it is none either. */
const argument = (name: string) => (name.startsWith('-') ? `-- ${quote(name)}` : quote(name === '' ? 'NAME' : name))

function fromFile(rule: NewRule, update: string | undefined): string[] {
  const name = update ?? rule.name
  const verb = update === undefined ? 'add' : 'update'
  return [`printf %s ${quote(JSON.stringify(rule))} |`, `myagent-manager route ${verb} --file - ${argument(name)}`]
}

/** One command of several lines, as it is pasted. */
export function commandText(rule: NewRule, update?: string): string {
  const lines = commandLines(rule, update)
  return lines[0]?.endsWith('|') ? lines.join('\n  ') : lines.join(' \\\n  ')
}
