import { ElMessage } from 'element-plus'
import { computed, onScopeDispose, ref, type Ref } from 'vue'
import { useI18n } from 'vue-i18n'
import { asProblem } from '@/api/problem'
import type { RuleView } from '@/api/schema.gen'
import { moved, priorityChanges } from './model/reorder'
import { useRuleActions } from './queries'

/** Who moves a rule by keys moves it on: what is saved is where it comes to rest. */
const REST_MS = 700

/** The order that somebody makes, shown at once and saved when it rests. */
export function useRuleOrder(rules: Ref<readonly RuleView[]>) {
  const { t } = useI18n()
  const { setPriorities } = useRuleActions()
  /** Ids in the order wanted, until the manager has it. */
  const wanted = ref<string[]>()
  const announcement = ref('')
  const saving = ref(false)
  let mover: string | undefined
  let timer = 0

  const ordered = computed(() => {
    const places = new Map(wanted.value?.map((id, place) => [id, place]))
    if (places.size === 0) return [...rules.value]
    return [...rules.value].sort((a, b) => (places.get(a.rule_id) ?? Infinity) - (places.get(b.rule_id) ?? Infinity))
  })

  function move(from: number, to: number, at: 'once' | 'rest') {
    const rule = ordered.value[from]
    if (!rule || to < 0 || to >= ordered.value.length || from === to) return
    mover = rule.rule_id
    wanted.value = moved(ordered.value, from, to).map(({ rule_id }) => rule_id)
    announcement.value = t('routing.moved', { name: rule.name, place: to + 1, total: ordered.value.length })
    window.clearTimeout(timer)
    timer = window.setTimeout(() => void save(), at === 'once' ? 0 : REST_MS)
  }

  async function save() {
    if (saving.value || wanted.value === undefined) return
    const order = wanted.value
    const changes = priorityChanges(ordered.value, mover)
    saving.value = true
    try {
      if (changes.length > 0) {
        await setPriorities(changes)
        ElMessage({ type: 'success', message: t('routing.movedChanged', { n: changes.length }, changes.length), showClose: true })
      }
      if (wanted.value === order) wanted.value = undefined
    } catch (error) {
      wanted.value = undefined
      const problem = asProblem(error)
      const message = problem.status === 412 || problem.status === 404 ? t('routing.orderConflict') : t('routing.orderFailed', { why: problem.status === 0 ? t('problem.unreachable') : problem.message })
      ElMessage({ type: 'error', message, duration: 8_000, showClose: true })
      announcement.value = message
    } finally {
      saving.value = false
    }
    // Moved on while it was saved.
    if (wanted.value !== undefined) await save()
  }

  onScopeDispose(() => {
    window.clearTimeout(timer)
    void save()
  })

  return { ordered, announcement, saving, move }
}
