import { shallowRef, computed, type App } from 'vue'
import type { Language as Texts } from 'element-plus/es/locale'
import type { Language } from './languages'

/** None: English, which Element Plus has built in. */
const texts = shallowRef<Texts>()
let provided = false

/** Has the texts of Element Plus itself in `language`. What that takes is loaded for who does not read English. */
export async function useElementTexts(language: Language, app: App) {
  if (language === 'en') {
    texts.value = undefined
    return
  }
  const [{ default: chinese }, { provideGlobalConfig }] = await Promise.all([
    import('element-plus/es/locale/lang/zh-cn'),
    import('element-plus/es/components/config-provider/index'),
  ])
  texts.value = chinese
  if (!provided) provideGlobalConfig(computed(() => ({ locale: texts.value })), app, true)
  provided = true
}
