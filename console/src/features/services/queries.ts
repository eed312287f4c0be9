import { useQuery } from '@tanstack/vue-query'
import { computed, toValue, type MaybeRefOrGetter } from 'vue'
import { api, ask, askWithVersion } from '@/api/client'
import { keys, queryClient } from '@/api/queries'
import { ApiProblem } from '@/api/problem'
import type { Action, BatchItem, NewService, ServiceChanges, ServiceView } from '@/api/schema.gen'

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

const of = (name: string) => ({ path: { service: name } })

export function useServices() {
  // No word, as `list`: a service may be called so.
  return useQuery({ queryKey: [keys.services, { all: true }], queryFn: allServices, refetchInterval: 5_000, shallow: true })
}

/** One service with its instances. Its numbers are told by no event, so they are asked for. */
export function useService(name: MaybeRefOrGetter<string>) {
  return useQuery({
    queryKey: computed(() => [keys.services, toValue(name)]),
    queryFn: () => ask(api.GET('/api/v1/services/{service}', { params: of(toValue(name)) })),
    // One that is gone does not come back.
    refetchInterval: (query) => (query.state.error instanceof ApiProblem && query.state.error.status === 404 ? false : 3_000),
  })
}

/** A service as it is now. */
export const readService = (name: string) => ask(api.GET('/api/v1/services/{service}', { params: of(name) }))

/** A service as it is now, with its version, to be changed. */
export const readServiceVersion = (name: string) => askWithVersion(api.GET('/api/v1/services/{service}', { params: of(name) }))

/** After a change everything that shows services is asked for again. */
async function changed<T>(request: Promise<T>): Promise<T> {
  try {
    return await request
  } finally {
    void queryClient.invalidateQueries({ queryKey: [keys.services] })
    void queryClient.invalidateQueries({ queryKey: [keys.stats] })
  }
}

// Nobody waits within the request: a browser has six connections, and a start may take minutes. What came of it is told
// by events.
const atOnce = { wait: false }

export const startService = (name: string) =>
  changed(ask<ServiceView>(api.POST('/api/v1/services/{service}/start', { params: { ...of(name), query: atOnce } })))

export const stopService = (name: string) =>
  changed(ask<ServiceView>(api.POST('/api/v1/services/{service}/stop', { params: { ...of(name), query: atOnce } })))

/** One instance after the other, unless `allAtOnce`. */
export const restartService = (name: string, allAtOnce = false) =>
  changed(
    ask<ServiceView>(
      api.POST('/api/v1/services/{service}/restart', { params: { ...of(name), query: { ...atOnce, all_at_once: allAtOnce } } }),
    ),
  )

export const scaleService = (name: string, replicas: number) =>
  changed(
    ask<ServiceView>(
      api.POST('/api/v1/services/{service}/scale', { params: { ...of(name), query: atOnce }, body: { replicas } }),
    ),
  )

export const removeService = (name: string) => changed(ask(api.DELETE('/api/v1/services/{service}', { params: of(name) })))

/** Registers a service once, however often it is sent with `key`. */
export const createService = (body: Partial<NewService>, key: string) =>
  changed(ask(api.POST('/api/v1/services', { params: { header: { 'Idempotency-Key': key } }, body: body as NewService })))

/** Changes a service that nobody has changed since `version`. */
export const updateService = (name: string, changes: Partial<ServiceChanges>, version: string | null) =>
  changed(
    ask(
      api.PATCH('/api/v1/services/{service}', {
        params: { ...of(name), header: version === null ? {} : { 'If-Match': version } },
        body: changes as ServiceChanges,
      }),
    ),
  )

/** Does the same to several services, and says what came of each. Deleting waits until it is done. */
export async function batchServices(action: Action, names: string[]): Promise<BatchItem[]> {
  const query = action === 'delete' ? {} : atOnce
  const page = await changed(ask(api.POST('/api/v1/services/batch', { params: { query }, body: { action, names } })))
  return page.items
}
