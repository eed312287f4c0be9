import type { Overview } from '@/api/schema.gen'

/** The fleet in one sentence: how much of it runs, and how much needs somebody. */
export interface Verdict {
  key: 'well' | 'attention'
  running: number
  total: number
  troubles: number
}

export function verdict({ services, problems, attention_total }: Pick<Overview, 'services' | 'problems' | 'attention_total'>): Verdict {
  const troubles = attention_total + problems.length
  return { key: troubles > 0 ? 'attention' : 'well', running: services.running ?? 0, total: services.total ?? 0, troubles }
}
