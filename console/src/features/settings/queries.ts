import { useQuery } from '@tanstack/vue-query'
import { api, ask } from '@/api/client'
import { keys } from '@/api/queries'

export function useInfo() {
  return useQuery({ queryKey: [keys.info], queryFn: () => ask(api.GET('/api/v1/info')), refetchInterval: 5_000 })
}

export function useHealth() {
  return useQuery({ queryKey: [keys.info, 'health'], queryFn: () => ask(api.GET('/health')), refetchInterval: 5_000 })
}

/** It takes some seconds, and nothing tells that it has changed: it is done when somebody looks, or asks for it. */
export function useDiagnosis() {
  return useQuery({
    queryKey: ['doctor'],
    queryFn: ({ signal }) => ask(api.GET('/api/v1/doctor', { signal })),
    staleTime: 60_000,
    refetchOnWindowFocus: false,
  })
}
