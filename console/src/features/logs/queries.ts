import { useQuery } from '@tanstack/vue-query'
import { computed, toValue, type MaybeRefOrGetter } from 'vue'
import { api, ask } from '@/api/client'
import { managerNow } from '@/ui/clock'
import { isAsked, queryOf, type Search } from './model'

/** Lines that match. Nothing but a click asks again: a search may read hundreds of MiB. */
export function useLogSearch(search: MaybeRefOrGetter<Search>) {
  return useQuery({
    queryKey: computed(() => ['logs', 'search', toValue(search)]),
    queryFn: ({ signal }) => ask(api.GET('/api/v1/logs/search', { params: { query: queryOf(toValue(search), managerNow()) }, signal })),
    enabled: () => isAsked(toValue(search)),
    staleTime: Infinity,
    refetchOnWindowFocus: false,
    retry: false,
  })
}
