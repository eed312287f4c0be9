/** What is wrong with a form before it is sent; the API has the last word. Pure. */
import { parseArgv } from './argv'
import { isVariableName } from './env'
import type { ServiceForm } from './form'
import { settings, wrongNumber } from './settings'

export interface Fault {
  /** As the API calls it. */
  field: string
  /** Its text is `services.faults.<key>`. */
  key: 'empty' | 'name' | 'absolute' | 'program' | 'quote' | 'url' | 'wsPath' | 'range' | 'both' | 'variable' | 'twice' | 'reserved' | 'noValue' | 'tag'
  values?: Record<string, string | number>
  /** Only that nothing is there yet: not told before somebody wants to save. */
  missing?: boolean
}

const NAME = /^[a-z0-9][a-z0-9_-]{0,62}$/

export function check(form: ServiceForm): Fault[] {
  const faults: Fault[] = []
  const fault = (field: string, key: Fault['key'], rest: Partial<Fault> = {}) => faults.push({ field, key, ...rest })
  const missing = (field: string) => fault(field, 'empty', { missing: true })
  const absolute = (field: string, path: string) => path.trim() !== '' && !path.trim().startsWith('/') && fault(field, 'absolute')

  const name = form.name.trim()
  if (name === '') missing('name')
  else if (!NAME.test(name)) fault('name', 'name')
  else if (name === 'batch' || name === 'new') fault('name', 'reserved', { values: { name } })
  sourceFaults()
  if (form.tags.some((tag) => /[\s,]/.test(tag) || tag.length > 64)) fault('tags', 'tag')
  range('port', form.port, 0, 65_535)
  range('replicas', form.replicas, 1, 500)
  settings.forEach((setting) => {
    const text = form.settings[setting.key]
    if (setting.type !== 'number' || typeof text === 'boolean' || text.trim() === '' || !wrongNumber(setting, text.trim())) return
    fault(`config.${setting.key}`, 'range', { values: { min: setting.min, max: setting.max } })
  })
  variables('environment', form.environment)
  variables('secrets', form.secrets)
  form.secrets.forEach((row) => {
    if ((!row.stored || row.fate === 'replace') && row.key !== '' && row.value === '') fault(`secrets.${row.key}`, 'noValue', { missing: true })
  })
  return faults

  function sourceFaults() {
    if (form.kind === 'file') {
      if (form.file.path.trim() === '') missing('source.path')
      absolute('source.path', form.file.path)
      absolute('source.python', form.file.python)
      absolute('source.worker', form.file.worker)
      if (form.file.python.trim() !== '' && form.file.worker.trim() !== '') fault('source.worker', 'both')
    } else if (form.kind === 'command') {
      const { argv, open } = parseArgv(form.command.line)
      if (open) fault('source.argv', 'quote')
      else if ((argv[0] ?? '') === '') missing('source.argv')
      else if (!argv[0]?.startsWith('/')) fault('source.argv', 'program', { values: { program: argv[0] ?? '' } })
      absolute('source.cwd', form.command.cwd)
      if (form.command.path.trim() !== '' && !/^\/\S*$/.test(form.command.path.trim())) fault('source.path', 'wsPath')
    } else if (form.external.url.trim() === '') missing('source.url')
    else if (!/^wss?:\/\/[^\s/?]/.test(form.external.url.trim())) fault('source.url', 'url')
  }

  function range(field: string, text: string, min: number, max: number) {
    if (text.trim() === '') return
    const value = Number(text)
    if (!Number.isInteger(value) || value < min || value > max) fault(field, 'range', { values: { min, max } })
  }

  function variables(group: 'environment' | 'secrets', rows: readonly { key: string }[]) {
    const seen = new Set<string>()
    rows.forEach(({ key: written }) => {
      const key = written.trim()
      if (key === '') return
      if (!isVariableName(key)) fault(`${group}.${key}`, 'variable')
      else if (seen.has(key)) fault(`${group}.${key}`, 'twice')
      seen.add(key)
    })
  }
}

/** Faults that are told: those of what somebody has written, and all once they want to save. */
export const told = (faults: readonly Fault[], tried: boolean) => faults.filter((fault) => tried || !fault.missing)
