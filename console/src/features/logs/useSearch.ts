import { computed } from 'vue'
import { useUrlState } from '@/ui/useUrlState'
import type { Search } from './model'

/** The search as it stands in the address. */
export function useSearch() {
  const push = { replace: false }
  const parts = {
    q: useUrlState('q', '', push),
    service: useUrlState('service', '', push),
    level: useUrlState('level', '', push),
    stream: useUrlState('stream', '', push),
    range: useUrlState('range', '24h', push),
    since: useUrlState('since', '', push),
    until: useUrlState('until', '', push),
    limit: useUrlState('limit', '500', push),
  }
  return computed<Search>({
    get: () => ({
      q: parts.q.value, service: parts.service.value, level: parts.level.value, stream: parts.stream.value,
      range: parts.range.value, since: parts.since.value, until: parts.until.value, limit: parts.limit.value,
    }),
    set: (search) => {
      for (const key of Object.keys(parts) as (keyof Search)[]) if (parts[key].value !== search[key]) parts[key].value = search[key]
    },
  })
}
