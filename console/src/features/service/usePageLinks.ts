import { useRouter, type LocationQueryRaw, type RouteLocationRaw } from 'vue-router'
import type { Tab } from './model/page'

/** Links to pages of other features; nothing where there is no such page. */
export function usePageLinks() {
  const router = useRouter()

  function to(name: string, params: Record<string, string> = {}, query: LocationQueryRaw = {}): RouteLocationRaw | undefined {
    return router.hasRoute(name) ? { name, params, query } : undefined
  }

  return {
    list: to('service-list'),
    newService: to('service-new'),
    edit: (name: string) => to('service-edit', { name }),
    talk: (name: string) => to('service-try', { name }),
    connections: (service: string) => to('connection-list', {}, { service }),
    search: (service: string, q: string) => to('log-search', {}, { service, q: q || undefined }),
    part: (name: string, tab: Tab, query: LocationQueryRaw = {}) => ({ name: 'service-detail', params: tab === 'overview' ? { name } : { name, tab }, query }),
  }
}
