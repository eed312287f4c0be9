import type { RouteRecordRaw } from 'vue-router'

export const routes: RouteRecordRaw[] = [
  {
    path: '/services',
    name: 'service-list',
    component: () => import('./views/List.vue'),
    meta: { title: 'services.title', section: 'services' },
  },
  {
    path: '/services/new',
    name: 'service-new',
    component: () => import('./views/Form.vue'),
    meta: { title: 'services.form.newTitle', section: 'services' },
  },
  {
    path: '/services/:name/edit',
    name: 'service-edit',
    component: () => import('./views/Form.vue'),
    props: true,
    meta: { title: 'services.form.editShort', section: 'services' },
  },
]
