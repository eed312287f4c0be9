import type { RouteRecordRaw } from 'vue-router'

export const routes: RouteRecordRaw[] = [
  {
    path: '/services',
    name: 'service-list',
    component: () => import('./views/List.vue'),
    meta: { title: 'services.title', section: 'services' },
  },
]
