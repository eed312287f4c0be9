import type { RouteRecordRaw } from 'vue-router'

export const routes: RouteRecordRaw[] = [
  {
    path: '/services/:name/:tab(overview|instances|health|connections|logs|events|config)?',
    name: 'service-detail',
    component: () => import('./views/Service.vue'),
    props: true,
    meta: { title: 'service.title', section: 'services' },
  },
]
