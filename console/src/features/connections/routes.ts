import type { RouteRecordRaw } from 'vue-router'

export const routes: RouteRecordRaw[] = [
  {
    path: '/connections',
    name: 'connection-list',
    component: () => import('./views/List.vue'),
    meta: { title: 'connections.title', section: 'connections' },
  },
]
