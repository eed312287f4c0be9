import { useMutation, useQuery, useQueryClient } from '@tanstack/vue-query'
import { computed, toValue, type MaybeRefOrGetter } from 'vue'
import { api, ask } from '@/api/client'
import { keys } from '@/api/queries'

/** Where the manager listens. */
export function useInfo() {
  return useQuery({ queryKey: [keys.info], queryFn: () => ask(api.GET('/api/v1/info')), refetchInterval: 15_000 })
}

export function useTriedService(name: MaybeRefOrGetter<string>) {
  return useQuery({
    queryKey: computed(() => [keys.services, toValue(name), 'try']),
    queryFn: () => ask(api.GET('/api/v1/services/{service}', { params: { path: { service: toValue(name) } } })),
    refetchInterval: 5_000,
  })
}

export function useStartService() {
  const client = useQueryClient()
  return useMutation({
    mutationFn: (service: string) => ask(api.POST('/api/v1/services/{service}/start', { params: { path: { service } } })),
    onSettled: () => client.invalidateQueries({ queryKey: [keys.services] }),
  })
}

/** The connection of the session, as the manager sees it: its instance is the one that answers. */
export function useOwnConnection(service: MaybeRefOrGetter<string>, sessionId: MaybeRefOrGetter<string | undefined>, live: MaybeRefOrGetter<boolean>) {
  return useQuery({
    queryKey: computed(() => [keys.connections, 'of-session', toValue(service), toValue(sessionId)]),
    queryFn: async () => {
      const query = { service: toValue(service), session_id: toValue(sessionId), sort: '-connected_at', limit: 1 }
      const page = await ask(api.GET('/api/v1/connections', { params: { query } }))
      return page.items[0] ?? null
    },
    enabled: computed(() => toValue(live) && toValue(sessionId) !== undefined),
    // Nobody comes back to it, and it would keep the conversation that asked.
    gcTime: 0,
    refetchInterval: 3_000,
  })
}
