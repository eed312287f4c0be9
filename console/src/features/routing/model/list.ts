/** Which rules are shown. Pure. */
import type { RuleView } from '@/api/schema.gen'

export interface RuleFilter {
  /** Words that all stand in what the rule says. */
  search: string
  /** `yes`, `no`, or all. */
  enabled: string
}

export const isFiltered = ({ search, enabled }: RuleFilter) => search.trim() !== '' || enabled !== ''

export function filterRules(rules: readonly RuleView[], filter: RuleFilter): RuleView[] {
  const words = filter.search.toLowerCase().split(/\s+/).filter(Boolean)
  return rules.filter(
    (rule) =>
      (filter.enabled === '' || rule.enabled === (filter.enabled === 'yes')) &&
      words.every((word) => haystack(rule).includes(word)),
  )
}

function haystack(rule: RuleView): string {
  const conditions = rule.conditions.flatMap(({ field, value }) => [field, JSON.stringify(value) ?? ''])
  return [rule.name, rule.description, ...conditions, ...rule.target_services, ...rule.target_tags, rule.target_strategy ?? '']
    .join('\n')
    .toLowerCase()
}

/** The rules below one that takes every client: they are not asked. One that leads to nobody is passed over itself. */
export function shadowedBy(rules: readonly RuleView[]): Map<string, string> {
  const shadowed = new Map<string, string>()
  let taker: RuleView | undefined
  for (const rule of rules) {
    if (taker && rule.enabled) shadowed.set(rule.rule_id, taker.name)
    if (!taker && rule.enabled && rule.conditions.length === 0 && !rule.warnings?.length) taker = rule
  }
  return shadowed
}

/** A name that no rule has yet: `gold` → `gold 2`. */
export function freeName(name: string, taken: readonly string[]): string {
  const used = new Set(taken)
  if (!used.has(name)) return name
  const stem = name.replace(/ \d+$/, '')
  for (let number = 2; ; number++) {
    if (!used.has(`${stem} ${number}`)) return `${stem} ${number}`
  }
}
