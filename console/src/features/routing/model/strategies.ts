import type { Strategy } from '@/api/schema.gen'

/** In the order in which they are offered: what most want first. */
export const strategies: readonly Strategy[] = [
  'round_robin', 'least_connections', 'performance_based', 'hash_based', 'weighted_random', 'tag_based', 'manual',
]
