import { api, ask } from '@/api/client'
import { keys, queryClient } from '@/api/queries'

export const overviewQuery = {
  queryKey: [keys.stats, 'overview'],
  queryFn: () => ask(api.GET('/api/v1/stats/overview')),
}

/** Asks for what the dashboard shows while the page itself is still loaded. */
export function prefetchOverview() {
  void queryClient.prefetchQuery(overviewQuery)
}
