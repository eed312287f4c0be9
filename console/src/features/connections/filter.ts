import { computed } from 'vue'
import { useUrlState } from '@/ui/useUrlState'
import { noFilter, type ConnectionFilter } from './model/list'

/** The filter, which lives in the address. */
export function useConnectionFilter() {
  const parts = {
    search: useUrlState('search'),
    service: useUrlState('service'),
    status: useUrlState('status'),
    rule: useUrlState('rule'),
    instance: useUrlState('instance'),
    strategy: useUrlState('strategy'),
  }
  const names = Object.keys(noFilter) as (keyof ConnectionFilter)[]
  const value = computed(() => Object.fromEntries(names.map((name) => [name, parts[name].value])) as unknown as ConnectionFilter)
  const active = computed(() => names.some((name) => parts[name].value !== ''))

  function clear() {
    names.forEach((name) => (parts[name].value = ''))
  }

  return { parts, value, active, clear }
}
