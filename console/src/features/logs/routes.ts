import type { RouteRecordRaw } from 'vue-router'

export const routes: RouteRecordRaw[] = [
  {
    path: '/logs',
    name: 'log-search',
    component: () => import('./views/Search.vue'),
    meta: { title: 'logs.title', section: 'logs' },
  },
]
