import type { RouteRecordRaw } from 'vue-router'

export const routes: RouteRecordRaw[] = [
  {
    path: '/events',
    name: 'event-list',
    component: () => import('./views/Events.vue'),
    meta: { title: 'events.title', section: 'events' },
  },
]
