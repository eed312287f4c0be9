import { defineStore } from 'pinia'
import { computed, ref, watch } from 'vue'
import { fromBrowser, isLanguage, type Language } from './languages'

export type Theme = 'light' | 'dark' | 'system'

const KEY = 'myagent.preferences'

interface Stored {
  theme?: Theme
  language?: Language
}

/** A browser may refuse to store (private windows); then a choice lasts as long as the page. */
function stored(): Stored {
  try {
    const value: unknown = JSON.parse(localStorage.getItem(KEY) ?? '{}')
    return typeof value === 'object' && value !== null ? value : {}
  } catch {
    return {}
  }
}

function store(value: Stored) {
  try {
    localStorage.setItem(KEY, JSON.stringify(value))
  } catch {
    // See above.
  }
}

/** What somebody has chosen for this browser. */
export const usePreferences = defineStore('preferences', () => {
  const known = stored()
  const theme = ref<Theme>(known.theme === 'light' || known.theme === 'dark' ? known.theme : 'system')
  const language = ref<Language>(isLanguage(known.language) ? known.language : fromBrowser(navigator.languages))
  const system = window.matchMedia('(prefers-color-scheme: dark)')
  const systemDark = ref(system.matches)
  system.addEventListener('change', (event) => (systemDark.value = event.matches))
  const dark = computed(() => theme.value === 'dark' || (theme.value === 'system' && systemDark.value))

  function apply() {
    document.documentElement.classList.toggle('dark', dark.value)
  }

  watch(dark, apply)
  watch([theme, language], () => store({ theme: theme.value, language: language.value }))
  return { theme, language, dark, apply }
})
