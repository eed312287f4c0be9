/** A rule while it is written, and as the API takes it. Pure. */
import type { NewRule, RuleView, Share, Strategy } from '@/api/schema.gen'
import { readCondition, writeCondition, type ConditionForm } from './condition'

export interface ShareForm {
  kind: 'service' | 'tag'
  name: string
  percent: number
}

export interface RuleForm {
  name: string
  description: string
  priority: number
  enabled: boolean
  conditions: ConditionForm[]
  services: string[]
  tags: string[]
  tagMatch: 'all' | 'any'
  /** Empty: the default strategy. */
  strategy: Strategy | ''
  fallback: Strategy | ''
  hashKey: string
  allowHint: boolean
  split: ShareForm[]
  /** One weight for all, or one for each service; empty: the services' own. */
  weight: number | null | Record<string, number>
}

export const emptyForm = (): RuleForm => ({
  name: '',
  description: '',
  priority: 100,
  enabled: true,
  conditions: [],
  services: [],
  tags: [],
  tagMatch: 'all',
  strategy: '',
  fallback: '',
  hashKey: '',
  allowHint: true,
  split: [],
  weight: null,
})

const readShare = ({ service, tag, percent }: Share): ShareForm =>
  tag ? { kind: 'tag', name: tag, percent } : { kind: 'service', name: service ?? '', percent }

const writeShare = ({ kind, name, percent }: ShareForm): Share => ({ [kind]: name, percent })

/** The form of a rule that is there, or of what somebody has of one. */
export function readRule(rule: Partial<RuleView> | Partial<NewRule>): RuleForm {
  const blank = emptyForm()
  return {
    name: rule.name ?? '',
    description: rule.description ?? '',
    priority: rule.priority ?? blank.priority,
    enabled: rule.enabled ?? true,
    conditions: (rule.conditions ?? []).map(readCondition),
    services: [...(rule.target_services ?? [])],
    tags: [...(rule.target_tags ?? [])],
    tagMatch: rule.tag_match ?? 'all',
    strategy: rule.target_strategy ?? '',
    fallback: rule.fallback_strategy ?? '',
    hashKey: rule.hash_key ?? '',
    allowHint: rule.allow_hint ?? true,
    split: (rule.split ?? []).map(readShare),
    weight: typeof rule.weight === 'object' && rule.weight !== null ? { ...rule.weight } : (rule.weight ?? null),
  }
}

/** What is sent: only what says something, and conditions all of them, so that the API's places are those of the form. */
export function writeRule(form: RuleForm): NewRule {
  const rule: NewRule = { name: form.name.trim(), priority: form.priority, enabled: form.enabled, allow_hint: form.allowHint }
  if (form.description.trim() !== '') rule.description = form.description.trim()
  if (form.conditions.length > 0) rule.conditions = form.conditions.map(writeCondition)
  if (form.services.length > 0) rule.target_services = form.services
  if (form.tags.length > 0) rule.target_tags = form.tags
  if (form.tagMatch === 'any') rule.tag_match = 'any'
  if (form.strategy !== '') rule.target_strategy = form.strategy
  if (form.fallback !== '') rule.fallback_strategy = form.fallback
  if (form.hashKey.trim() !== '') rule.hash_key = form.hashKey.trim()
  if (form.split.length > 0) rule.split = form.split.map(writeShare)
  const weight = writeWeight(form)
  if (weight !== null) rule.weight = weight
  return rule
}

/** Weights of services that are no targets any more say nothing. */
function writeWeight({ weight, services }: RuleForm): NewRule['weight'] {
  if (weight === null || typeof weight === 'number') return weight
  const named = Object.entries(weight).filter(([service]) => services.length === 0 || services.includes(service))
  return named.length === 0 ? null : Object.fromEntries(named)
}

/** Whether two forms say the same. */
export const same = (a: RuleForm, b: RuleForm) => JSON.stringify(writeRule(a)) === JSON.stringify(writeRule(b))

/** Whether the split or the strategy tell clients apart by `hashKey`. */
export const usesHashKey = (form: Pick<RuleForm, 'strategy' | 'fallback' | 'split'>) =>
  form.strategy === 'hash_based' || form.fallback === 'hash_based' || form.split.length > 0

export const shareTotal = (split: readonly ShareForm[]) => split.reduce((sum, { percent }) => sum + (percent || 0), 0)

/** Shares of one size that add up to 100. */
export function evenly(split: readonly ShareForm[]): ShareForm[] {
  const each = Math.floor(100 / Math.max(1, split.length))
  const left = 100 - each * split.length
  return split.map((share, index) => ({ ...share, percent: each + (index < left ? 1 : 0) }))
}

/** The parts that a split begins with: the targets, in equal shares. */
export function beginSplit(form: Pick<RuleForm, 'services' | 'tags'>): ShareForm[] {
  const parts: ShareForm[] = form.services.map((name) => ({ kind: 'service', name, percent: 0 }))
  if (parts.length === 0) parts.push(...form.tags.map((name): ShareForm => ({ kind: 'tag', name, percent: 0 })))
  while (parts.length < 2) parts.push({ kind: 'service', name: '', percent: 0 })
  return evenly(parts)
}

/** Rules that many begin with. */
export const examples: readonly { id: string; rule: Partial<NewRule> }[] = [
  {
    id: 'mobile',
    rule: {
      conditions: [{ field: 'user_agent', operator: 'contains', value: 'Mobile' }],
      target_tags: ['mobile'],
      target_strategy: 'least_connections',
    },
  },
  {
    id: 'vip',
    rule: { priority: 10, conditions: [{ field: 'header.x-user-tier', operator: 'equals', value: 'vip' }], target_tags: ['high-performance'] },
  },
  {
    id: 'canary',
    rule: { priority: 200, split: [{ tag: 'stable', percent: 90 }, { tag: 'canary', percent: 10 }] },
  },
  {
    id: 'office',
    rule: {
      priority: 50,
      conditions: [{ field: 'client_ip', operator: 'ip_in_range', value: ['192.168.0.0/16', '10.0.0.0/8'] }],
      target_strategy: 'hash_based',
    },
  },
]

