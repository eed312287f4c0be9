import { VueQueryPlugin } from '@tanstack/vue-query'
import { createPinia } from 'pinia'
import { createApp } from 'vue'
import App from './app/App.vue'
import { i18n, useLanguage } from './app/i18n'
import { usePreferences } from './app/preferences'
import { router } from './app/router'
import { useLive } from './api/live'
import { followEvents, queryClient } from './api/queries'
import { breath } from './ui/breath'
import './ui/styles/index.css'

const app = createApp(App)
app.use(createPinia()).use(i18n).use(VueQueryPlugin, { queryClient })
usePreferences().apply()
const texts = useLanguage(usePreferences().language)
await breath()
app.use(router)
await texts
await breath()
followEvents()
const live = useLive()
live.start()
live.watchVisibility()
app.mount('#app')
