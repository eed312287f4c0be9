import { ref } from 'vue'
import { useI18n } from 'vue-i18n'
import { asProblem } from '@/api/problem'

/** Messages are for later; nothing that is asked for waits until they can be shown. */
async function say(type: 'success' | 'error', text: string) {
  const message = await import('./message')
  message.say(type, text)
}

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
      if (done) await say('success', done)
      return true
    } catch (error) {
      const problem = asProblem(error)
      await say('error', problem.status === 0 ? t('problem.unreachable') : problem.message)
      return false
    } finally {
      busy.value = false
    }
  }

  return { busy, run }
}
