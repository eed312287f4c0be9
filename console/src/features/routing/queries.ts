import { keepPreviousData, useQuery, useQueryClient } from '@tanstack/vue-query'
import { computed, type Ref } from 'vue'
import { api, ask, askWithVersion } from '@/api/client'
import { keys } from '@/api/queries'
import type { DryRunRequest, ExplainRequest, NewRule, RuleChanges, RuleView } from '@/api/schema.gen'
import { inOrder, type PriorityChange } from './model/reorder'

const LIST = [keys.rules, 'list'] as const
/** Most rules of one page of the API. */
const PAGE = 1000

async function allRules(): Promise<RuleView[]> {
  const found: RuleView[] = []
  for (;;) {
    const page = await ask(api.GET('/api/v1/routing/rules', { params: { query: { limit: PAGE, offset: found.length } } }))
    found.push(...page.items)
    if (!page.has_more || page.items.length === 0) return found
  }
}

/** All rules in the order in which they are tried. No event tells their traffic. */
export function useRules() {
  return useQuery({ queryKey: LIST, queryFn: allRules, refetchInterval: 5_000 })
}

/** A rule with its version, for `If-Match`. It is read when it is opened, and not again below somebody's hands. */
export function useRule(name: Ref<string | undefined>) {
  return useQuery({
    queryKey: computed(() => ['rule', name.value]),
    queryFn: () => askWithVersion(api.GET('/api/v1/routing/rules/{rule}', { params: { path: { rule: name.value ?? '' } } })),
    enabled: computed(() => name.value !== undefined),
    staleTime: Infinity,
    gcTime: 0,
    refetchOnWindowFocus: false,
  })
}

/** Who would get a client. Loads change without an event. */
export function useExplanation(request: Ref<ExplainRequest>) {
  return useQuery({
    queryKey: computed(() => [keys.rules, 'explain', request.value]),
    queryFn: ({ signal }) => ask(api.POST('/api/v1/routing/explain', { body: request.value, signal })),
    placeholderData: keepPreviousData,
    refetchInterval: 4_000,
    staleTime: 0,
  })
}

/** What a rule would change for those who are connected; none while it cannot be tried. */
export function useDryRun(request: Ref<DryRunRequest | undefined>) {
  return useQuery({
    queryKey: computed(() => [keys.rules, 'dry-run', request.value]),
    queryFn: async ({ signal }) => {
      if (!request.value) throw new Error('there is no rule to be tried')
      return ask(api.POST('/api/v1/routing/rules/dry-run', { body: request.value, signal }))
    },
    enabled: computed(() => request.value !== undefined),
    placeholderData: keepPreviousData,
    refetchInterval: 5_000,
    staleTime: 0,
  })
}

const match = (rule: Pick<RuleView, 'version'>) => `"${rule.version}"`
const at = (rule: RuleView) => ({ path: { rule: rule.rule_id }, header: { 'If-Match': match(rule) } })

/** A patch names what changes, and nothing else; the document's type asks for all that has a default. */
const part = (changes: Partial<RuleChanges>) => changes as RuleChanges

const patch = (rule: RuleView, changes: Partial<RuleChanges>) =>
  ask(api.PATCH('/api/v1/routing/rules/{rule}', { params: at(rule), body: part(changes) }))

export function createRule(body: NewRule, key: string) {
  return ask(api.POST('/api/v1/routing/rules', { params: { header: { 'Idempotency-Key': key } }, body }))
}

export function replaceRule(id: string, version: string | null, body: NewRule) {
  const header = version === null ? {} : { 'If-Match': version }
  return askWithVersion(api.PUT('/api/v1/routing/rules/{rule}', { params: { path: { rule: id }, header }, body }))
}

export function useRuleActions() {
  const client = useQueryClient()
  const refresh = () => client.invalidateQueries({ queryKey: [keys.rules] })

  /** Shows what will be, does it, and shows what was if it fails. */
  async function optimistic(change: (rules: RuleView[]) => RuleView[], action: () => Promise<unknown>) {
    await client.cancelQueries({ queryKey: LIST })
    const before = client.getQueryData<RuleView[]>(LIST)
    if (before) client.setQueryData(LIST, change(before))
    try {
      await action()
    } catch (error) {
      client.setQueryData(LIST, before)
      throw error
    } finally {
      // What comes next needs the versions that these changes made.
      await refresh()
    }
  }

  const setEnabled = (rule: RuleView, enabled: boolean) =>
    optimistic(
      (rules) => rules.map((other) => (other.rule_id === rule.rule_id ? { ...other, enabled } : other)),
      () => patch(rule, { enabled }),
    )

  const remove = (rule: RuleView) =>
    optimistic(
      (rules) => rules.filter((other) => other.rule_id !== rule.rule_id),
      () => ask(api.DELETE('/api/v1/routing/rules/{rule}', { params: at(rule) })),
    )

  const setPriorities = (changes: readonly PriorityChange[]) =>
    optimistic(
      (rules) => {
        const priorities = new Map(changes.map(({ rule, priority }) => [rule.rule_id, priority]))
        return inOrder(rules.map((rule) => ({ ...rule, priority: priorities.get(rule.rule_id) ?? rule.priority })))
      },
      () => patchAll(changes),
    )

  return { refresh, setEnabled, remove, setPriorities }
}

/** All or none: what was changed before one is refused is changed back, unless somebody else has changed it since. */
async function patchAll(changes: readonly PriorityChange[]) {
  const done: { now: RuleView; before: number }[] = []
  try {
    for (const { rule, priority } of changes) done.push({ now: await patch(rule, { priority }), before: rule.priority })
  } catch (error) {
    await Promise.allSettled(done.map(({ now, before }) => patch(now, { priority: before })))
    throw error
  }
}
