/** Open connections in numbers, as bars. Pure. */
import type { ConnectionStats } from '@/api/schema.gen'
import type { Bar } from '@/ui/BarList.vue'

export const groups = ['service', 'instance', 'rule', 'strategy'] as const

export type Group = (typeof groups)[number]

export const asGroup = (text: string): Group => groups.find((group) => group === text) ?? 'service'

/** So many bars; the rest is one. */
const MOST_BARS = 6

/** The key of the bar that stands for all that have none of their own. */
export const OTHERS = ''

interface Words {
  others: (count: number) => string
  direct: string
}

/** The largest first. */
export function barsOf(stats: ConnectionStats, group: Group, words: Words): Bar[] {
  const all = Object.entries(stats[`by_${group}`])
    .map(([key, value]) => ({ key, label: key === 'direct' && group === 'strategy' ? words.direct : key, value }))
    .filter(({ value }) => value > 0)
    .sort((a, b) => b.value - a.value || (a.key < b.key ? -1 : 1))
  if (all.length <= MOST_BARS) return all
  const rest = all.slice(MOST_BARS - 1)
  const others = { key: OTHERS, label: words.others(rest.length), value: rest.reduce((sum, { value }) => sum + value, 0) }
  return [...all.slice(0, MOST_BARS - 1), others]
}

export const ranges = ['15m', '1h', '6h', '24h'] as const

export const asRange = (text: string) => ranges.find((range) => range === text) ?? '1h'
