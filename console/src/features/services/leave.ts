import { ElMessageBox } from 'element-plus'
import { onScopeDispose } from 'vue'
import { useI18n } from 'vue-i18n'
import { onBeforeRouteLeave } from 'vue-router'

/** Asks before what was entered is lost, whether one goes to another page or closes the window. */
export function useLeaveGuard(dirty: () => boolean) {
  const { t } = useI18n()

  onBeforeRouteLeave(async () => {
    if (!dirty()) return true
    try {
      await ElMessageBox.confirm(t('services.form.leaveText'), t('services.form.leaveTitle'), {
        confirmButtonText: t('services.form.leave'),
        cancelButtonText: t('services.form.stay'),
        autofocus: false,
      })
      return true
    } catch {
      return false
    }
  })

  const unload = (event: BeforeUnloadEvent) => {
    if (dirty()) event.preventDefault()
  }
  window.addEventListener('beforeunload', unload)
  onScopeDispose(() => window.removeEventListener('beforeunload', unload))
}
