import { ElMessage } from 'element-plus'
import { ref } from 'vue'
import { useI18n } from 'vue-i18n'
import { asProblem } from '@/api/problem'

/**
 * Something that is done on a click: `busy` while it is, a message if it fails (`false`), and one when it is done, if
 * `done` has a text.
 */
export function useAction() {
  const { t } = useI18n()
  const busy = ref(false)

  async function run(action: () => Promise<unknown>, done?: string): Promise<boolean> {
    // A button is pressed twice before it can show that it was.
    if (busy.value) return false
    busy.value = true
    try {
      await action()
      if (done) ElMessage({ type: 'success', message: done, showClose: true })
      return true
    } catch (error) {
      const problem = asProblem(error)
      const message = problem.status === 0 ? t('problem.unreachable') : problem.message
      ElMessage({ type: 'error', message, duration: 8_000, showClose: true })
      return false
    } finally {
      busy.value = false
    }
  }

  return { busy, run }
}
