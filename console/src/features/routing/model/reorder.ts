/** Moving rules: which priorities have to change so that they are tried in a new order. Pure. */
import type { RuleView } from '@/api/schema.gen'

export interface PriorityChange {
  rule: RuleView
  priority: number
}

type Ordered = Pick<RuleView, 'priority' | 'created_at' | 'rule_id'>

const LOWEST = -2_147_483_648
const HIGHEST = 2_147_483_647
/** How far from its neighbour a rule is put at the end of the list: room for others. */
const STEP = 10

/** Of two rules of one priority the older is tried first. Times have up to nine digits behind the dot, or none. */
function older(a: Ordered, b: Ordered): boolean {
  const [timeA, timeB] = [comparable(a.created_at), comparable(b.created_at)]
  return timeA === timeB ? a.rule_id < b.rule_id : timeA < timeB
}

function comparable(time: string): string {
  const [seconds = '', fraction = ''] = time.replace(/Z$/, '').split('.')
  return `${seconds}.${fraction.padEnd(9, '0')}`
}

/** In the order in which they are tried. */
export function inOrder<T extends Ordered>(rules: readonly T[]): T[] {
  return [...rules].sort((a, b) => a.priority - b.priority || (older(a, b) ? -1 : 1))
}

/** The list with one of them elsewhere. */
export function moved<T>(list: readonly T[], from: number, to: number): T[] {
  const next = [...list]
  const taken = next.splice(from, 1)
  next.splice(Math.max(0, Math.min(to, next.length)), 0, ...taken)
  return next
}

/**
 * The fewest changes of priorities that make `wanted` the order of its rules. Where several rules could give way it is
 * `mover`, which somebody has moved.
 *
 * Two neighbours of one priority stand right if the first is older, else the second needs one more. So priority less what
 * all neighbours before need must never fall: the longest such series keeps its priorities, the rest fits in between.
 */
export function priorityChanges(wanted: readonly RuleView[], mover?: string): PriorityChange[] {
  const needed: number[] = []
  wanted.forEach((rule, index) => {
    const before = wanted[index - 1]
    needed.push(before ? (needed[index - 1] ?? 0) + (older(before, rule) ? 0 : 1) : 0)
  })
  const level = wanted.map((rule, index) => rule.priority - (needed[index] ?? 0))
  const most = HIGHEST - (needed.at(-1) ?? 0)
  const kept = longestRise(level, (index) => (level[index] ?? 0) >= LOWEST && (level[index] ?? 0) <= most, (index) => wanted[index]?.rule_id === mover)

  const changes: PriorityChange[] = []
  let next = 0
  for (const end of [...kept, wanted.length]) {
    const from = next === 0 ? LOWEST : (level[next - 1] ?? LOWEST)
    const to = end === wanted.length ? most : (level[end] ?? most)
    const ideal = spread(next === 0 ? undefined : from, end === wanted.length ? undefined : to, end - next)
    let least = from
    for (let index = next; index < end; index++) {
      const need = needed[index] ?? 0
      const nice = Math.round(((ideal.values[index - next] ?? 0) + need) / ideal.unit) * ideal.unit
      least = Math.min(Math.max(nice - need, least), to)
      const rule = wanted[index]
      if (rule) changes.push({ rule, priority: least + need })
    }
    next = end + 1
  }
  return changes
}

/** The places of the longest series that never falls; of two equally long the one without what `gives` way. */
function longestRise(level: readonly number[], may: (index: number) => boolean, gives: (index: number) => boolean): number[] {
  const best: { worth: number; before: number }[] = []
  let end = -1
  level.forEach((value, index) => {
    let found = { worth: may(index) ? 0 : Number.NEGATIVE_INFINITY, before: -1 }
    for (let before = 0; before < index; before++) {
      const candidate = best[before]
      if (candidate && (level[before] ?? 0) <= value && candidate.worth > found.worth) found = { worth: candidate.worth, before }
    }
    best.push({ worth: may(index) ? found.worth + (gives(index) ? 1 : 2) : Number.NEGATIVE_INFINITY, before: found.before })
    if ((best[index]?.worth ?? 0) > (best[end]?.worth ?? 0)) end = index
  })
  const series: number[] = []
  for (let index = end; index >= 0; index = best[index]?.before ?? -1) series.unshift(index)
  return series
}

/** `count` values between two levels, spread so that the next move has room too, and the unit that people like them in. */
function spread(from: number | undefined, to: number | undefined, count: number): { values: number[]; unit: number } {
  const steps = Array.from({ length: count }, (_, index) => index + 1)
  if (from !== undefined && to !== undefined) {
    const gap = (to - from) / (count + 1)
    return { values: steps.map((step) => from + step * gap), unit: unitOf(gap) }
  }
  if (to === undefined) return { values: steps.map((step) => (from ?? 0) + step * STEP), unit: STEP }
  // Above zero as long as there is room: a negative priority makes people wonder.
  const step = to >= count ? Math.max(1, Math.min(STEP, Math.floor(to / (count + 1)))) : STEP
  return { values: steps.map((place) => to - (count + 1 - place) * step), unit: unitOf(step) }
}

const unitOf = (gap: number) => (gap >= 10 ? 10 : gap >= 5 ? 5 : 1)
