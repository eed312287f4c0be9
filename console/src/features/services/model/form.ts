/** A service as the form has it, and as the API takes it. Fields of text mean the default when they are empty. Pure. */
import type { NewService, ServiceView, Source } from '@/api/schema.gen'
import { parseArgv, quoteArgv } from './argv'
import type { Variable } from './env'
import { settings, settingValue, type SettingKey } from './settings'

export type Kind = Source['kind']
export const kinds: readonly Kind[] = ['file', 'command', 'external']

export const DEFAULT_HOST = '127.0.0.1'

export interface SecretRow extends Variable {
  /** It has a value already, which nobody can read. */
  stored: boolean
  /** What is to become of what is stored. */
  fate: 'keep' | 'replace' | 'remove'
}

export interface ServiceForm {
  kind: Kind
  file: { path: string; python: string; worker: string }
  command: { line: string; cwd: string; path: string }
  external: { url: string }
  name: string
  description: string
  tags: string[]
  host: string
  /** Of an existing service: empty leaves it as it is. */
  port: string
  replicas: string
  autoStart: boolean
  settings: Record<SettingKey, string | boolean>
  environment: Variable[]
  secrets: SecretRow[]
}

const initialSettings = () =>
  Object.fromEntries(settings.map((setting) => [setting.key, setting.type === 'flag' ? setting.initial : ''])) as ServiceForm['settings']

export function emptyForm(kind: Kind): ServiceForm {
  return {
    kind,
    file: { path: '', python: '', worker: '' },
    command: { line: '', cwd: '', path: '' },
    external: { url: '' },
    name: '',
    description: '',
    tags: [],
    host: '',
    port: '',
    replicas: '',
    autoStart: true,
    settings: initialSettings(),
    environment: [],
    secrets: [],
  }
}

/** What there is, to be changed. What has its default is left empty. */
export function formOf(service: ServiceView): ServiceForm {
  const form = emptyForm(service.source.kind)
  const { source } = service
  if (source.kind === 'file') form.file = { path: source.path, python: source.python ?? '', worker: source.worker ?? '' }
  else if (source.kind === 'command') form.command = { line: quoteArgv(source.argv), cwd: source.cwd ?? '', path: source.path ?? '' }
  else form.external = { url: source.url }
  settings.forEach(({ key, initial, type }) => {
    const value = service.config[key] ?? null
    if (type === 'flag') form.settings[key] = Boolean(value)
    else form.settings[key] = value === initial ? '' : String(value)
  })
  return {
    ...form,
    name: service.name,
    description: service.description,
    tags: [...service.tags],
    host: service.host === DEFAULT_HOST ? '' : service.host,
    port: service.fixed_port ? String(service.fixed_port) : '',
    replicas: service.replicas === 1 ? '' : String(service.replicas),
    environment: Object.entries(service.environment).map(([key, value]) => ({ key, value })),
    secrets: service.secrets.map((key) => ({ key, value: '', stored: true, fate: 'keep' })),
  }
}

export function sourceOf(form: ServiceForm): Source {
  switch (form.kind) {
    case 'file':
      return { kind: 'file', path: form.file.path.trim(), ...given({ python: form.file.python.trim(), worker: form.file.worker.trim() }) }
    case 'command':
      return { kind: 'command', argv: parseArgv(form.command.line).argv, ...given({ cwd: form.command.cwd.trim(), path: form.command.path.trim() }) }
    case 'external':
      return { kind: 'external', url: form.external.url.trim() }
  }
}

/** Only what is not empty. */
function given<T extends Record<string, string>>(fields: T): Partial<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== '')) as Partial<T>
}

/** A number that somebody wrote, or what they wrote, about which the API says why it is none. */
const numberOr = (text: string, fallback: number) => {
  const trimmed = text.trim()
  if (trimmed === '') return fallback
  return Number.isFinite(Number(trimmed)) ? Number(trimmed) : trimmed
}

export type Plain = string | number | boolean | null | readonly string[]

/**
 * Everything that a form says but secrets, by the names that the API has for its fields. What is compared, sent, and
 * shown as a command comes from here.
 */
export function facts(form: ServiceForm): Map<string, Plain> {
  const all = new Map<string, Plain>()
  all.set('name', form.name.trim())
  Object.entries(sourceOf(form)).forEach(([key, value]) => all.set(`source.${key}`, value))
  all.set('description', form.description.trim())
  all.set('tags', form.tags)
  all.set('host', form.host.trim() || DEFAULT_HOST)
  all.set('port', numberOr(form.port, 0))
  all.set('replicas', numberOr(form.replicas, 1))
  settings.forEach((setting) => {
    const text = form.settings[setting.key]
    const value = settingValue(setting, text)
    all.set(`config.${setting.key}`, value === undefined ? String(text) : value)
  })
  form.environment.filter((row) => row.key.trim() !== '').forEach((row) => all.set(`environment.${row.key.trim()}`, row.value))
  return all
}

/** Values of secrets that are to be stored. */
export function newSecrets(form: ServiceForm): Variable[] {
  return form.secrets
    .filter((row) => row.key.trim() !== '' && (!row.stored || row.fate === 'replace'))
    .map((row) => ({ key: row.key.trim(), value: row.value }))
}

export const same = (a: Plain | undefined, b: Plain | undefined) => JSON.stringify(a) === JSON.stringify(b)

/** The body that registers what `form` says; what has its default is left out. */
export function newService(form: ServiceForm): Partial<NewService> {
  const defaults = facts(emptyForm(form.kind))
  const body: Record<string, unknown> = { name: form.name.trim(), source: sourceOf(form), auto_start: form.autoStart }
  facts(form).forEach((value, field) => {
    if (field === 'name' || field.startsWith('source.') || same(value, defaults.get(field))) return
    put(body, field, value)
  })
  newSecrets(form).forEach(({ key, value }) => put(body, `secrets.${key}`, value))
  return body
}

/** Sets `a.b` as `b` of the object `a`. */
export function put(body: Record<string, unknown>, field: string, value: unknown) {
  const dot = field.indexOf('.')
  if (dot < 0) body[field] = value
  else body[field.slice(0, dot)] = { ...(body[field.slice(0, dot)] as object | undefined), [field.slice(dot + 1)]: value }
}
