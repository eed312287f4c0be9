import { ElMessage, ElMessageBox } from 'element-plus'
import { ref, shallowRef } from 'vue'
import { useI18n } from 'vue-i18n'
import type { Action, BatchItem, ServiceView } from '@/api/schema.gen'
import { useAction } from '@/ui/useAction'
import { chunks } from './model/list'
import { batchServices } from './queries'

/** Services of one request: few enough to see how far it is. */
const AT_A_TIME = 25
/** Names that a question lists; of the others it says how many. */
const NAMED = 8

/** Does the same to several services. */
export function useBatch() {
  const { t } = useI18n()
  const { busy, run } = useAction()
  const done = ref(0)
  const total = ref(0)
  const action = ref<Action>('start')
  /** What did not work, with the cause of each; it stays until it is read. */
  const problems = shallowRef<BatchItem[]>([])

  async function confirmed(wanted: Action, services: readonly ServiceView[]): Promise<boolean> {
    if (wanted === 'start') return true
    const names = services.slice(0, NAMED).map((service) => service.name).join(', ')
    const more = services.length - NAMED
    const connections = services.reduce((sum, service) => sum + service.stats.active_connections, 0)
    const text = [
      more > 0 ? t('services.bulk.namesAndMore', { names, more }) : names,
      connections > 0 ? t('services.ask.connections', { n: connections }, connections) : '',
      wanted === 'delete' ? t('services.ask.removeText') : '',
    ]
    try {
      await ElMessageBox.confirm(text.filter(Boolean).join('\n\n'), t(`services.bulk.ask.${wanted}`, { n: services.length }, services.length), {
        confirmButtonText: t(`services.bulk.${wanted}`),
        cancelButtonText: t('common.cancel'),
        confirmButtonClass: wanted === 'restart' ? '' : 'el-button--danger',
        autofocus: false,
      })
      return true
    } catch {
      return false
    }
  }

  /** Whether it was done, or at least tried. */
  async function batch(wanted: Action, services: readonly ServiceView[]): Promise<boolean> {
    if (busy.value || !(await confirmed(wanted, services))) return false
    action.value = wanted
    done.value = 0
    total.value = services.length
    problems.value = []
    const failed: BatchItem[] = []
    const worked = await run(async () => {
      for (const part of chunks(services, AT_A_TIME)) {
        const items = await batchServices(wanted, part.map((service) => service.name))
        failed.push(...items.filter((item) => item.problem))
        done.value += part.length
      }
    })
    problems.value = failed
    const fine = done.value - failed.length
    if (fine > 0) ElMessage({ type: 'success', message: t(`services.bulk.did.${wanted}`, { n: fine }, fine), showClose: true })
    return worked
  }

  return { busy, done, total, action, problems, batch }
}
