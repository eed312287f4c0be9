import { useI18n } from 'vue-i18n'

const SOURCE: Record<string, string> = {
  'source.kind': 'services.form.sourceKind',
  'source.path': 'services.form.path',
  'source.python': 'services.form.fields.python.label',
  'source.worker': 'services.form.fields.worker.label',
  'source.argv': 'services.form.fields.line.label',
  'source.cwd': 'services.form.fields.cwd.label',
  'source.url': 'services.form.fields.url.label',
}
const PLAIN: Record<string, string> = { auto_start: 'autoStart' }

/** What the form calls a field of the API. */
export function useFieldNames() {
  const { t, te } = useI18n()

  return (field: string): string => {
    const [group, ...rest] = field.split('.')
    const key = rest.join('.')
    if (group === 'environment' || group === 'secrets') return `${t(`services.form.${group}`)}: ${key}`
    if (group === 'source') return t(SOURCE[field] ?? 'services.form.source')
    const name = group === 'config' ? `services.settings.${key}.label` : `services.form.fields.${PLAIN[field] ?? field}.label`
    return te(name) ? t(name) : field
  }
}
