/** The command that does the same as the form. Pure. */
import { quoteArgv, quoteWord } from './argv'
import { diff, type Change } from './diff'
import { emptyForm, sourceOf, type Plain, type ServiceForm } from './form'

/** Settings that have an option of their own. */
const OPTIONS: Record<string, string> = {
  'config.max_sessions': '--max-sessions',
  'config.session_timeout': '--session-timeout',
  'config.health_check_interval': '--health-check-interval',
  host: '--host',
  port: '--port',
  description: '--description',
  tags: '--tags',
  replicas: '--replicas',
}

export function registerCommand(form: ServiceForm): string {
  // What is left out of a source shows as a change from a form without one.
  const options = diff(emptyForm(form.kind), form).filter(({ field }) => field !== 'name' && !field.startsWith('source.'))
  return command('register', form, [...(form.autoStart ? ['--auto-start'] : []), ...options.flatMap(option)], true)
}

/** Nothing if there is nothing to do. */
export function updateCommand(before: ServiceForm, after: ServiceForm): string {
  const changes = diff(before, after)
  if (changes.length === 0) return ''
  const source = changes.some(({ field }) => field.startsWith('source.'))
  return command('update', after, changes.filter(({ field }) => !field.startsWith('source.')).flatMap(option), source)
}

function command(verb: string, form: ServiceForm, options: string[], withSource: boolean): string {
  const name = form.name.trim() === '' ? 'NAME' : quoteWord(form.name.trim())
  const source = withSource ? sourceWords(form) : { before: [], file: '', after: [] }
  const lines = [[`myagent-manager ${verb} ${name}`, source.file].filter(Boolean).join(' '), ...source.before, ...options, ...source.after]
  const cwd = withSource && form.kind === 'command' ? form.command.cwd.trim() : ''
  // A command runs where it was registered from.
  return (cwd === '' ? '' : `cd ${quoteWord(cwd)} &&\n`) + lines.join(' \\\n  ')
}

function sourceWords(form: ServiceForm): { before: string[]; file: string; after: string[] } {
  const source = sourceOf(form)
  switch (source.kind) {
    case 'file':
      return { before: [...valued('--python', source.python), ...valued('--worker', source.worker)], file: source.path === '' ? 'FILE' : quoteWord(source.path), after: [] }
    case 'command':
      return { before: valued('--path', source.path), file: '', after: [`-- ${source.argv.length === 0 ? 'COMMAND' : quoteArgv(source.argv)}`] }
    case 'external':
      return { before: [`--endpoint ${source.url === '' ? 'URL' : quoteWord(source.url)}`], file: '', after: [] }
  }
}

const valued = (name: string, value: string | null | undefined) => (value ? [withValue(name, value)] : [])

/** A value that begins with `-` would be read as an option of its own. */
function withValue(name: string, value: string): string {
  return value.startsWith('-') ? `${name}=${quoteWord(value)}` : `${name} ${quoteWord(value)}`
}

const text = (value: Plain) => (Array.isArray(value) ? value.join(',') : String(value))

function option({ field, after, secret }: Change): string[] {
  const key = field.slice(field.indexOf('.') + 1)
  if (secret) return [after === undefined ? withValue('--unset-secret', key) : withValue('--secret', key)]
  if (field.startsWith('environment.')) return [after === undefined ? withValue('--unset-env', key) : withValue('--env', `${key}=${text(after)}`)]
  if (after === undefined) return []
  if (field === 'config.auto_restart') return [after === true ? '--auto-restart' : '--no-auto-restart']
  const own = OPTIONS[field]
  return [own === undefined ? withValue('--set', `${key}=${text(after)}`) : withValue(own, text(after))]
}
