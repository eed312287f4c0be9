import type { RouteRecordRaw } from 'vue-router'

export const routes: RouteRecordRaw[] = [
  {
    path: '/services/:name/try',
    name: 'service-try',
    component: () => import('./views/Try.vue'),
    props: true,
    meta: { title: 'chat.title', section: 'services' },
  },
]
