/** What a dry run cannot know of those who are connected, and the client to ask about instead. Pure. */
import type { Condition, NewRule } from '@/api/schema.gen'
import { newClient, type Client } from './client'
import { readField, valuesOf, type FieldKind } from './condition'
import { fieldText, type Translate } from './sentence'

/** Kinds of which the manager keeps nothing once the connection is open. */
const NEVER_KEPT = new Set<FieldKind>(['path', 'host', 'header', 'query', 'cookie', 'other'])

function isUnstored({ field }: Condition): boolean {
  const { kind, name } = readField(field)
  return NEVER_KEPT.has(kind) && !(kind === 'header' && name.trim().toLowerCase() === 'user-agent')
}

/** What the conditions ask for that is not kept, in words, each once. */
export function unstoredFields(t: Translate, rule: Pick<NewRule, 'conditions'>): string[] {
  return [...new Set((rule.conditions ?? []).filter(isUnstored).map(({ field }) => fieldText(t, field)))]
}

/** A client to begin with in the simulator: what the conditions ask for, as far as one value says it. */
export function clientFor(rule: Pick<NewRule, 'conditions'>): Client {
  const client = newClient()
  for (const condition of rule.conditions ?? []) {
    const { kind, name } = readField(condition.field)
    const value = condition.operator === 'equals' || condition.operator === 'in_list' ? (valuesOf(condition.operator, condition.value)[0] ?? '') : ''
    if (kind === 'header' || kind === 'other') client.headers.push({ name, value })
    else if (kind === 'host') client.headers.push({ name: 'Host', value })
    else if (kind === 'user_agent') client.headers.push({ name: 'User-Agent', value })
    else if (kind === 'query') client.query.push({ name, value })
    else if (kind === 'cookie') client.cookies.push({ name, value })
    else if (kind === 'path' && value !== '') client.path = value
    else if (kind === 'client_ip' && value !== '') client.ip = value
  }
  return client
}
