/** What is wrong with a rule before it is sent, and where what the API says belongs. Pure. */
import type { FieldError } from '@/api/schema.gen'
import { isNamed, valueKind, type ConditionForm } from './condition'
import { shareTotal, type RuleForm } from './form'
import { isNetwork } from './network'

/** Places of the form by the API's names of them, each with a key below `routing.faults`. */
export type Faults = Record<string, { key: string; named?: Record<string, string | number> }>

export function faultsOf(form: RuleForm): Faults {
  const faults: Faults = {}
  if (form.name.trim() === '') faults.name = { key: 'name' }
  if (!Number.isInteger(form.priority)) faults.priority = { key: 'priority' }
  form.conditions.forEach((condition, index) => {
    for (const [part, fault] of Object.entries(conditionFaults(condition))) faults[`conditions[${index}].${part}`] = fault
  })
  if (form.split.length > 0) {
    const total = shareTotal(form.split)
    if (total !== 100) faults.split = { key: 'total', named: { total } }
    form.split.forEach(({ name }, index) => {
      if (name.trim() === '') faults[`split[${index}]`] = { key: 'part' }
    })
  }
  if (/\s/.test(form.hashKey.trim())) faults.hash_key = { key: 'spaces' }
  return faults
}

export function conditionFaults(condition: ConditionForm): Faults {
  const faults: Faults = {}
  if (isNamed(condition.kind)) {
    if (condition.name.trim() === '') faults.field = { key: 'fieldName' }
    else if (/\s/.test(condition.name.trim())) faults.field = { key: 'spaces' }
  }
  const kind = valueKind(condition.operator)
  if ((kind === 'list' || kind === 'networks') && condition.list.length === 0) faults.value = { key: 'emptyList' }
  const bad = kind === 'networks' ? condition.list.find((text) => !isNetwork(text)) : undefined
  if (bad !== undefined) faults.value = { key: 'network', named: { text: bad } }
  if (kind === 'regex') {
    const message = regexFault(condition.text)
    if (message !== undefined) faults.value = { key: message === '' ? 'emptyRegex' : 'regex' }
  }
  return faults
}

/** Faults that the manager's expressions share with those of the browser; it has no look-around and no references back. */
function regexFault(text: string): string | undefined {
  if (text === '') return ''
  // Flags and names in its own dialect, which browsers do not read.
  if (/\(\?[a-zA-Z-]*[:)]|\(\?P</.test(text) && !/\(\?:/.test(text)) return undefined
  if (/\(\?(?:=|!|<=|<!)/.test(text)) return 'look-around'
  try {
    new RegExp(text)
    return undefined
  } catch {
    return 'syntax'
  }
}

/** What to know of a condition that is right, but may not do what was meant. */
export function conditionHint(condition: ConditionForm): 'naming' | 'regexSearch' | undefined {
  if (condition.kind === 'service' || condition.kind === 'tag') return 'naming'
  if (condition.operator === 'regex_match') return 'regexSearch'
  return undefined
}

/** Which place of the form an error of the API belongs to; none: it is told above the form. */
export function placeOf(field: string, form: Pick<RuleForm, 'conditions' | 'split'>): string | undefined {
  const condition = /^conditions\[(\d+)\](?:\.(\w+))?/.exec(field)
  if (condition) {
    if (Number(condition[1]) >= form.conditions.length) return undefined
    return `conditions[${condition[1]}].${condition[2] === 'field' || condition[2] === 'operator' ? condition[2] : 'value'}`
  }
  const share = /^split\[(\d+)\]/.exec(field)
  if (share) return Number(share[1]) < form.split.length ? `split[${share[1]}]` : undefined
  const [name = ''] = field.split(/[.[]/)
  return PLACES.has(name) ? name : undefined
}

const PLACES = new Set([
  'name', 'description', 'priority', 'enabled', 'target_services', 'target_tags', 'target_strategy',
  'fallback_strategy', 'hash_key', 'split', 'weight',
])

/** Errors by place; what has none is for the summary. */
export function sortErrors(errors: readonly FieldError[], form: Pick<RuleForm, 'conditions' | 'split'>) {
  const placed: Record<string, string> = {}
  const rest: FieldError[] = []
  for (const error of errors) {
    const place = placeOf(error.field, form)
    if (place === undefined) rest.push(error)
    else placed[place] = placed[place] ? `${placed[place]}; ${error.message}` : error.message
  }
  return { placed, rest }
}
