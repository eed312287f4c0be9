import { createRouter, createWebHistory, type RouteRecordRaw } from 'vue-router'
import { isMissingFile, loadAnew } from './reload'

/** Each feature brings its routes; pages are loaded when they are opened. */
const features = import.meta.glob<{ routes: RouteRecordRaw[] }>('../features/*/routes.ts', { eager: true })

declare module 'vue-router' {
  interface RouteMeta {
    /** Key of the page's name, shown in the window's title. */
    title?: string
    /** The entry of the navigation that is marked. */
    section?: string
  }
}

export const router = createRouter({
  history: createWebHistory(),
  scrollBehavior: (to, from, saved) => saved ?? (to.path === from.path ? false : { top: 0 }),
  routes: [
    ...Object.values(features).flatMap((feature) => feature.routes),
    {
      path: '/:path(.*)*',
      name: 'not-found',
      component: () => import('./layout/NotFound.vue'),
      meta: { title: 'app.notFound' },
    },
  ],
})

// A page opened before an upgrade asks for files that the new program does not have.
router.onError((error, to) => {
  if (isMissingFile(error)) void loadAnew(to.fullPath)
})
