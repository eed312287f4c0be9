import { useQuery } from '@tanstack/vue-query'
import { api, ask } from '@/api/client'
import { keys } from '@/api/queries'
import type { ServiceView } from '@/api/schema.gen'

/** Most services of one page of the API. */
const PAGE = 1000

/** All services, by name: what is searched and sorted in the browser answers at once. */
async function allServices(): Promise<ServiceView[]> {
  const found: ServiceView[] = []
  for (;;) {
    const after = found.at(-1)?.name
    const page = await ask(api.GET('/api/v1/services', { params: { query: { limit: PAGE, after } } }))
    found.push(...page.items)
    if (!page.has_more) return found
  }
}

export function useServices() {
  return useQuery({ queryKey: [keys.services, 'list'], queryFn: allServices, refetchInterval: 10_000 })
}
