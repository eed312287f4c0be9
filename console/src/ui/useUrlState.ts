import { computed, type WritableComputedRef } from 'vue'
import { useRoute, useRouter, type LocationQuery } from 'vue-router'

/**
 * A text that lives in the query of the address, so that a link shows the same. Without it, and when it is set to it,
 * it is `fallback`, which the address does not name. `replace` (typing in a field) makes no entry in the history.
 */
export function useUrlState(
  name: string,
  fallback = '',
  options: { replace?: boolean } = { replace: true },
): WritableComputedRef<string> {
  const route = useRoute()
  const router = useRouter()
  return computed({
    get: () => {
      const value = route.query[name]
      return (Array.isArray(value) ? value[0] : value) ?? fallback
    },
    set: (value) => {
      const { [name]: _before, ...others } = pendingQuery(route.path, route.query)
      const query = value === fallback || value === '' ? others : { ...others, [name]: value }
      pending = { path: route.path, query }
      const target = { query, hash: route.hash }
      void (options.replace === false ? router.push(target) : router.replace(target)).finally(() => (pending = undefined))
    },
  })
}

/** Two names set in one go must not undo each other: a navigation takes effect later. */
let pending: { path: string; query: LocationQuery } | undefined

function pendingQuery(path: string, query: LocationQuery): LocationQuery {
  return pending?.path === path ? pending.query : query
}
