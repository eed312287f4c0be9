/** A rule as a sentence, in the language of `t`. Pure. */
import type { Condition, NewRule, RuleView } from '@/api/schema.gen'
import { isNamed, readField, valuesOf } from './condition'

/** A piece of a sentence: some are shown so that the eye finds them. */
export interface Piece {
  kind: 'text' | 'field' | 'value' | 'target' | 'strategy'
  text: string
}

export type Translate = (key: string, named?: Record<string, unknown>) => string
export type SaidRule = Pick<RuleView, 'conditions' | 'target_services' | 'target_tags'> &
  Partial<Pick<RuleView, 'tag_match' | 'target_strategy' | 'fallback_strategy' | 'split'>>

const MARK = '\u0001'
/** So many values are named, the others counted. */
const NAMED_VALUES = 4

const plain = (text: string): Piece => ({ kind: 'text', text })

/** The text `key` with pieces in the places of its names; each language has its own order. */
export function phrase(t: Translate, key: string, parts: Record<string, Piece[]>): Piece[] {
  const marks = Object.fromEntries(Object.keys(parts).map((name) => [name, `${MARK}${name}${MARK}`]))
  return t(key, marks)
    .split(MARK)
    .flatMap((text, index) => (index % 2 === 1 ? (parts[text] ?? []) : text === '' ? [] : [plain(text)]))
}

function joined(lists: readonly Piece[][], separator: string, last = separator): Piece[] {
  return lists.flatMap((list, index) => (index === 0 ? list : [plain(index === lists.length - 1 ? last : separator), ...list]))
}

export function fieldText(t: Translate, field: string): string {
  const { kind, name } = readField(field)
  return isNamed(kind) ? t(`routing.fields.${kind}.said`, { name: name || '…' }) : t(`routing.fields.${kind}.said`)
}

export function conditionPieces(t: Translate, condition: Condition): Piece[] {
  const all = valuesOf(condition.operator, condition.value)
  const named = all.slice(0, NAMED_VALUES).map((text): Piece[] => [{ kind: 'value', text: text === '' ? '""' : text }])
  if (all.length > NAMED_VALUES) named.push([plain(t('routing.sentence.others', { n: all.length - NAMED_VALUES }))])
  return phrase(t, `routing.operators.${condition.operator}.said`, {
    field: [{ kind: 'field', text: fieldText(t, condition.field) }],
    value: named.length === 0 ? [{ kind: 'value', text: '…' }] : joined(named, t('routing.sentence.comma')),
  })
}

/** Who: the conditions. */
export function whenPieces(t: Translate, rule: SaidRule): Piece[] {
  if (rule.conditions.length === 0) return [plain(t('routing.sentence.everybody'))]
  const conditions = joined(rule.conditions.map((condition) => conditionPieces(t, condition)), t('routing.sentence.and'))
  return phrase(t, 'routing.sentence.if', { conditions })
}

/** Where to: services, tags, shares. */
export function targetPieces(t: Translate, rule: SaidRule): Piece[] {
  const target = (text: string): Piece[] => [{ kind: 'target', text }]
  const shares = rule.split ?? []
  if (shares.length > 0) {
    return joined(
      shares.map((share) =>
        phrase(t, share.tag ? 'routing.sentence.shareTag' : 'routing.sentence.shareService', {
          percent: [plain(String(share.percent))],
          part: target(share.tag ?? share.service ?? '…'),
        }),
      ),
      t('routing.sentence.comma'),
    )
  }
  const or = t('routing.sentence.or')
  const services = joined(rule.target_services.map(target), t('routing.sentence.comma'), or)
  const tags = joined(rule.target_tags.map(target), t('routing.sentence.comma'), rule.tag_match === 'any' ? or : t('routing.sentence.and'))
  if (services.length === 0) return tags.length === 0 ? [plain(t('routing.sentence.any'))] : phrase(t, 'routing.sentence.tagged', { tags })
  return tags.length === 0 ? services : phrase(t, 'routing.sentence.servicesTagged', { services, tags })
}

/** How one of them is taken. */
export function howPieces(t: Translate, rule: SaidRule): Piece[] {
  const strategy = (name: string): Piece[] => [{ kind: 'strategy', text: t(`routing.strategies.${name}.said`) }]
  const by = phrase(t, 'routing.sentence.by', { strategy: strategy(rule.target_strategy ?? 'default') })
  if (!rule.fallback_strategy) return by
  return [...by, ...phrase(t, 'routing.sentence.else', { strategy: strategy(rule.fallback_strategy) })]
}

export const textOf = (pieces: readonly Piece[]) => pieces.map(({ text }) => text).join('')

/** All of it in one line, for whoever hears it. */
export function sentence(t: Translate, rule: SaidRule): string {
  return `${textOf(whenPieces(t, rule))} → ${textOf(targetPieces(t, rule))}${t('routing.sentence.comma')}${textOf(howPieces(t, rule))}`
}

/** A rule that is being written, as it would be said. */
export function asSaid(rule: NewRule): SaidRule {
  return {
    conditions: rule.conditions ?? [],
    target_services: rule.target_services ?? [],
    target_tags: rule.target_tags ?? [],
    tag_match: rule.tag_match ?? 'all',
    target_strategy: rule.target_strategy ?? null,
    fallback_strategy: rule.fallback_strategy ?? null,
    split: rule.split ?? [],
  }
}
