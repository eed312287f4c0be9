import type { RouteRecordRaw } from 'vue-router'

export const routes: RouteRecordRaw[] = [
  {
    path: '/routing',
    name: 'rule-list',
    component: () => import('./views/RuleList.vue'),
    meta: { title: 'routing.title', section: 'routing' },
  },
  {
    path: '/routing/new',
    name: 'rule-new',
    component: () => import('./views/RuleEditor.vue'),
    meta: { title: 'routing.edit.new', section: 'routing' },
  },
  {
    path: '/routing/simulator',
    name: 'rule-simulator',
    component: () => import('./views/RuleSimulator.vue'),
    meta: { title: 'routing.simulate.title', section: 'routing' },
  },
  {
    path: '/routing/:rule/edit',
    name: 'rule-edit',
    component: () => import('./views/RuleEditor.vue'),
    meta: { title: 'routing.edit.change', section: 'routing' },
  },
]
