import { createI18n } from 'vue-i18n'
import type { Language } from './languages'
import { messageAt } from './locales/messageAt'

export const i18n = createI18n({
  legacy: false,
  locale: 'en',
  fallbackLocale: 'en',
  missingWarn: import.meta.env.DEV,
  fallbackWarn: false,
  // A newer manager has states and kinds that have no text here: their own word says more than a key.
  missing: (_language, key) => key.slice(key.lastIndexOf('.') + 1),
  messages: {},
  messageResolver: messageAt,
})

/** Texts are loaded with the language that is asked for, and no other. */
const load: Record<Language, () => Promise<{ messages: Record<string, unknown> }>> = {
  en: () => import('./locales/all.en'),
  'zh-CN': () => import('./locales/all.zh-CN'),
}

export async function useLanguage(language: Language) {
  const { messages } = await load[language]()
  i18n.global.setLocaleMessage(language, messages)
  i18n.global.locale.value = language
  document.documentElement.lang = language
}
