import type { RouteRecordRaw } from 'vue-router'
import { prefetchOverview } from './overview'

export const routes: RouteRecordRaw[] = [
  {
    path: '/',
    name: 'dashboard',
    component: () => {
      prefetchOverview()
      return import('./views/Dashboard.vue')
    },
    meta: { title: 'dashboard.title', section: 'dashboard' },
  },
]
