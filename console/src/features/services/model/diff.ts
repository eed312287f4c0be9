/** What a form changes of a service. Pure. */
import type { ServiceChanges } from '@/api/schema.gen'
import { facts, newSecrets, put, same, sourceOf, type Plain, type ServiceForm } from './form'
import { settings } from './settings'

export interface Change {
  /** As the API calls it: `config.max_sessions`, `environment.LANG`. */
  field: string
  /** `undefined`: there was nothing. */
  before: Plain | undefined
  /** `undefined`: it goes. */
  after: Plain | undefined
  /** What runs goes on as it is until it is restarted. */
  restart: boolean
  /** Its values are not shown. */
  secret: boolean
}

const AT_ONCE = new Set(['name', 'description', 'tags', 'replicas', ...settings.filter((setting) => !setting.restart).map((setting) => `config.${setting.key}`)])

export function diff(before: ServiceForm, after: ServiceForm): Change[] {
  const [old, now] = [facts(before), facts(after)]
  const fields = [...new Set([...old.keys(), ...now.keys()])]
  const plain = fields
    .filter((field) => !same(old.get(field), now.get(field)))
    .map((field) => ({ field, before: old.get(field), after: now.get(field), restart: !AT_ONCE.has(field), secret: false }))
  return [...plain, ...secretChanges(after)]
}

function secretChanges(form: ServiceForm): Change[] {
  const change = (key: string, stored: boolean, after: true | undefined): Change => ({
    field: `secrets.${key}`,
    before: stored ? true : undefined,
    after,
    restart: true,
    secret: true,
  })
  const stored = new Set(form.secrets.filter((row) => row.stored).map((row) => row.key))
  const removed = form.secrets.filter((row) => row.stored && row.fate === 'remove').map((row) => change(row.key, true, undefined))
  return [...newSecrets(form).map(({ key }) => change(key, stored.has(key), true)), ...removed]
}

/** The body that makes these changes, and no other. */
export function changesBody(changes: readonly Change[], form: ServiceForm): Partial<ServiceChanges> {
  const body: Record<string, unknown> = {}
  const values = new Map(newSecrets(form).map(({ key, value }) => [`secrets.${key}`, value]))
  changes.forEach(({ field, after, secret }) => {
    if (field.startsWith('source.')) body.source = sourceOf(form)
    else put(body, field, (secret && after !== undefined ? values.get(field) : after) ?? null)
  })
  return body
}
