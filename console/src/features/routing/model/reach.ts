/** Which services a rule leads to, as they are now. Pure. */
import type { ServiceView } from '@/api/schema.gen'
import type { RuleForm } from './form'

type Targets = Pick<RuleForm, 'services' | 'tags' | 'tagMatch' | 'split'>
type Target = Pick<ServiceView, 'name' | 'service_id' | 'tags'>

const isNamed = (service: Target, names: readonly string[]) => names.includes(service.name) || names.includes(service.service_id)

/** Services and tags narrow each other; of a split only its parts count. */
export function reach<S extends Target>(form: Targets, services: readonly S[]): S[] {
  return services.filter(
    (service) =>
      (form.services.length === 0 || isNamed(service, form.services)) &&
      (form.tags.length === 0 ||
        (form.tagMatch === 'any' ? form.tags.some((tag) => service.tags.includes(tag)) : form.tags.every((tag) => service.tags.includes(tag)))) &&
      (form.split.length === 0 ||
        form.split.some(({ kind, name }) => (kind === 'tag' ? service.tags.includes(name) : isNamed(service, [name])))),
  )
}
