import { onScopeDispose } from 'vue'
import { useI18n } from 'vue-i18n'
import { onBeforeRouteLeave, onBeforeRouteUpdate } from 'vue-router'

/** Asks before what was entered is lost, whether one goes to another page or closes the window. */
export function useLeaveGuard(dirty: () => boolean) {
  const { t } = useI18n()

  async function mayLeave(): Promise<boolean> {
    if (!dirty()) return true
    const { confirmed } = await import('./confirmed')
    return confirmed({ title: t('leave.title'), text: t('leave.text'), yes: t('leave.yes'), no: t('leave.no') })
  }

  const unload = (event: BeforeUnloadEvent) => {
    if (dirty()) event.preventDefault()
  }
  onBeforeRouteLeave(mayLeave)
  // The same page of something else; what the address says of the view is no other page.
  onBeforeRouteUpdate((to, from) => to.path === from.path || mayLeave())
  window.addEventListener('beforeunload', unload)
  onScopeDispose(() => window.removeEventListener('beforeunload', unload))
}
