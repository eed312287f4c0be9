import { useQuery } from '@tanstack/vue-query'
import { api, ask } from '@/api/client'
import { keys } from '@/api/queries'

export function useOverview() {
  return useQuery({
    queryKey: [keys.stats, 'overview'],
    queryFn: () => ask(api.GET('/api/v1/stats/overview')),
    refetchInterval: 5_000,
  })
}
