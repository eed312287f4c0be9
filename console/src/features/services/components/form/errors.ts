import { computed, shallowRef, type Ref } from 'vue'
import { useI18n } from 'vue-i18n'
import type { ApiProblem } from '@/api/problem'
import { check, told } from '../../model/check'
import { facts, same, type Plain, type ServiceForm } from '../../model/form'

/**
 * What is wrong with which field: what can be seen here at once, and what the API has said of it, until the field is
 * changed.
 */
export function useErrors(form: ServiceForm, tried: Ref<boolean>) {
  const { t } = useI18n()
  const refused = shallowRef<{ problem: ApiProblem; facts: Map<string, Plain> }>()
  const now = computed(() => facts(form))
  const faults = computed(() => check(form))

  /** The name that the API refused is still there. */
  const taken = computed(() => {
    const last = refused.value
    return last?.problem.code === 'SERVICE_ALREADY_EXISTS' && same(now.value.get('name'), last.facts.get('name'))
  })

  const errors = computed(() => {
    const found = new Map<string, string>()
    refused.value?.problem.fields.forEach(({ field, message }) => {
      if (same(now.value.get(field), refused.value?.facts.get(field))) found.set(field, message)
    })
    if (taken.value) found.set('name', t('services.form.faults.taken', { name: form.name.trim() }))
    told(faults.value, tried.value).forEach(({ field, key, values }) => found.set(field, t(`services.form.faults.${key}`, values ?? {})))
    return found
  })

  return {
    errors,
    faults,
    refused,
    refuse: (problem: ApiProblem) => (refused.value = { problem, facts: now.value }),
    /** What the API says is shown as long as it says it. */
    forget: () => (refused.value = undefined),
  }
}
