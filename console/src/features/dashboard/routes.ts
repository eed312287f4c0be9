import type { RouteRecordRaw } from 'vue-router'
import { breath } from '@/ui/breath'
import { prefetchOverview } from './overview'

export const routes: RouteRecordRaw[] = [
  {
    path: '/',
    name: 'dashboard',
    component: async () => {
      prefetchOverview()
      await breath()
      return import('./views/Dashboard.vue')
    },
    meta: { title: 'dashboard.title', section: 'dashboard' },
  },
]
