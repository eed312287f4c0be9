import { ElMessage } from 'element-plus'
import { computed, nextTick, ref, watch } from 'vue'
import { useI18n } from 'vue-i18n'
import { useRoute, useRouter } from 'vue-router'
import { newKey } from '@/api/newKey'
import { asProblem, type ApiProblem } from '@/api/problem'
import type { FieldError, RuleView } from '@/api/schema.gen'
import { useLeaveGuard } from '@/ui/useLeaveGuard'
import { faultsOf, sortErrors } from './model/check'
import { draft } from './model/draft'
import { emptyForm, readRule, same, writeRule, type RuleForm } from './model/form'
import { createRule, replaceRule, useRule, useRuleActions, useRules } from './queries'

/** A rule that is written: where it comes from, what is wrong with it, how it is saved, and that it is not lost. */
export function useRuleEditor() {
  const { t } = useI18n()
  const route = useRoute()
  const router = useRouter()
  const { refresh } = useRuleActions()
  /** Of the page that is open now, not of the one that somebody goes to. */
  const name = typeof route.params.rule === 'string' ? route.params.rule : undefined
  const rules = useRules()
  const stored = useRule(ref(name))

  const form = ref<RuleForm>(emptyForm())
  const original = ref<RuleForm>(emptyForm())
  const ready = ref(false)
  /** Faults of what is still empty are told when somebody has tried to save. */
  const tried = ref(false)
  const placed = ref<Record<string, string>>({})
  const rest = ref<readonly FieldError[]>([])
  const problem = ref<ApiProblem>()
  const conflict = ref(false)
  const busy = ref(false)
  /** The key of what was sent: the same body again is the same rule, not a second one. */
  let sent = { body: '', key: '' }
  /** The version that the form was filled with; what is read again later must not stand in for it. */
  let version: string | null = null
  /** It is saved, and the page is about to be left. */
  const left = ref(false)

  const rule = computed(() => stored.data.value?.body)
  const body = computed(() => writeRule(form.value))
  const dirty = computed(() => ready.value && !same(form.value, original.value))
  const faults = computed(() => faultsOf(form.value))
  const errors = computed(() => {
    const own = Object.entries(faults.value)
      .filter(([, { key }]) => tried.value || key === 'network' || key === 'regex')
      .map(([place, { key, named }]) => [place, t(`routing.faults.${key}`, named ?? {})])
    return { ...placed.value, ...Object.fromEntries(own) } as Record<string, string>
  })
  const loadError = computed(() => (name === undefined ? undefined : (stored.error.value ?? undefined)))

  function begin(next: RuleForm) {
    form.value = next
    original.value = structuredClone(JSON.parse(JSON.stringify(next)) as RuleForm)
    ready.value = true
    tried.value = conflict.value = false
    forget()
  }

  function beginWith(read: { body: RuleView; version: string | null }) {
    version = read.version
    begin(readRule(read.body))
  }

  function forget() {
    placed.value = {}
    rest.value = []
    problem.value = undefined
  }

  watch(
    [rules.data, rules.error, rule],
    () => {
      if (ready.value) return
      if (name !== undefined) {
        if (stored.data.value) beginWith(stored.data.value)
      } else if (rules.data.value || rules.error.value) {
        begin(draft(route.query, rules.data.value ?? [], { exampleName: (id) => t(`routing.examples.${id}.name`), copyName: (of) => t('routing.copyName', { name: of }) }))
      }
    },
    { immediate: true },
  )
  // What the manager said was about what was sent.
  watch(body, (next, before) => JSON.stringify(next) !== JSON.stringify(before) && forget())

  async function showFirst() {
    await nextTick()
    const first = document.querySelector<HTMLElement>('form [aria-invalid="true"], form [data-error] input')
    first?.focus()
    first?.scrollIntoView({ block: 'center' })
  }

  async function save(options: { overwrite?: boolean } = {}) {
    // Pressed twice: the second would find what the first has stored, and take it for a change of somebody else.
    if (busy.value) return
    tried.value = true
    if (Object.keys(faults.value).length > 0) return showFirst()
    busy.value = true
    try {
      if (name === undefined) {
        const text = JSON.stringify(body.value)
        if (sent.body !== text) sent = { body: text, key: newKey() }
        await createRule(body.value, sent.key)
      } else {
        await replaceRule(rule.value?.rule_id ?? name, options.overwrite ? null : version, body.value)
      }
      left.value = true
      void refresh()
      ElMessage({ type: 'success', message: t(name === undefined ? 'routing.edit.created' : 'routing.edit.saved', { name: body.value.name }), showClose: true })
      await router.push({ name: 'rule-list' })
    } catch (error) {
      await refused(asProblem(error))
    } finally {
      busy.value = false
    }
  }

  async function refused(why: ApiProblem) {
    conflict.value = why.status === 412
    const sorted = sortErrors(why.fields, form.value)
    placed.value = sorted.placed
    rest.value = sorted.rest
    problem.value = conflict.value || Object.keys(sorted.placed).length > 0 ? undefined : why
    if (Object.keys(sorted.placed).length > 0) await showFirst()
  }

  async function reload() {
    const { data } = await stored.refetch()
    if (data) beginWith(data)
  }

  useLeaveGuard(() => dirty.value && !left.value)

  return { name, form, original, rule, body, ready, dirty, errors, faults, rest, problem, conflict, busy, left, loadError, retry: stored.refetch, save, reload }
}
