/** What the front door says of a client, as a story that is read from top to bottom. Pure. */
import type { CandidateView, ExplainedRule, Explanation, RuleView } from '@/api/schema.gen'
import type { Tone } from '@/ui/StatusTag.vue'
import { conditionPieces, fieldText, type Piece, type Translate } from './sentence'

/** Key below `routing.story.pool` of why the client has its pool. */
export type PoolReason = NonNullable<Explanation['pool']> | 'missing'

export function poolReason(explanation: Explanation): PoolReason {
  return explanation.pool ?? 'missing'
}

export interface RuleStep {
  id: string
  name: string
  priority: number
  outcome: ExplainedRule['outcome']
  tone: Tone
  /** What it wanted, if that is not so. */
  wanted?: Piece[]
  field?: string
  /** What the client has there; null: nothing. */
  actual?: string | null
  /** It comes after the one that matched: nobody asked it. */
  asked: boolean
}

const ruleTones: Record<ExplainedRule['outcome'], Tone> = { matched: 'good', disabled: 'idle', condition_failed: 'idle', no_member: 'warn' }

/** The rules that were asked, then those that were not because one matched before. */
export function ruleSteps(t: Translate, explanation: Explanation, rules: readonly RuleView[] = []): RuleStep[] {
  const asked = explanation.rules.map((rule): RuleStep => {
    const step: RuleStep = { id: rule.rule_id, name: rule.name, priority: rule.priority, outcome: rule.outcome, tone: ruleTones[rule.outcome], asked: true }
    if (!rule.failed) return step
    const { field, operator, value, actual = null } = rule.failed
    return { ...step, wanted: conditionPieces(t, { field, operator, value }), field: fieldText(t, field), actual }
  })
  if (explanation.rules.length === 0) return asked
  const known = new Set(asked.map(({ id }) => id))
  const others = rules
    .filter((rule) => !known.has(rule.rule_id))
    .map((rule): RuleStep => ({ id: rule.rule_id, name: rule.name, priority: rule.priority, outcome: 'disabled', tone: 'idle', asked: false }))
  return [...asked, ...others]
}

/** From where on rules are folded: those between the first and the one that decided say little. */
const FOLD_FROM = 8

/** The steps that are shown at first, and how many are hidden. */
export function folded(steps: readonly RuleStep[]): { shown: RuleStep[]; hidden: number } {
  if (steps.length <= FOLD_FROM) return { shown: [...steps], hidden: 0 }
  const shown = steps.filter((step, index) => step.outcome === 'matched' || step.outcome === 'no_member' || index < 4)
  return { shown, hidden: steps.length - shown.length }
}

export const candidateTones: Record<CandidateView['state'], Tone> = {
  eligible: 'good',
  tried: 'warn',
  full: 'warn',
  ejected: 'bad',
  starting: 'busy',
  out_of_service: 'bad',
  other_part: 'idle',
}

/** The one that was chosen, those that could be, the others; of equals by name. */
export function sortCandidates(candidates: readonly CandidateView[]): CandidateView[] {
  const rank = ({ chosen, state }: CandidateView) => (chosen ? 0 : state === 'eligible' ? 1 : 2)
  return [...candidates].sort((a, b) => rank(a) - rank(b) || a.instance.localeCompare(b.instance, 'en', { numeric: true }))
}

export const eligible = (candidates: readonly CandidateView[]) => candidates.filter(({ state }) => state === 'eligible').length

export const outcomeTones: Record<Explanation['outcome'], Tone> = { go: 'good', wait: 'warn', refuse: 'bad' }

/** How full an instance is, from 0 to 1; none: it has no limit. */
export function fullness({ places, max_places }: Pick<CandidateView, 'places' | 'max_places'>): number | undefined {
  return max_places > 0 ? Math.min(1, places / max_places) : undefined
}
