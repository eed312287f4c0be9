/** What a rule would change for those who are connected. Pure. */
import type { DryRun, DryRunRequest, DryRunSample, NewRule } from '@/api/schema.gen'
import type { Tone } from '@/ui/StatusTag.vue'
import type { Faults } from './check'

/**
 * What is asked, if the rule is so far that it can be tried: its name may still be missing, which `name` stands in for.
 */
export function dryRunRequest(rule: NewRule, faults: Faults, name: string, replaces?: string): DryRunRequest | undefined {
  if (Object.keys(faults).some((place) => place !== 'name')) return undefined
  const tried = rule.name === '' ? { ...rule, name } : rule
  return replaces === undefined ? { rule: tried } : { rule: tried, replaces }
}

export interface Part {
  kind: 'matched' | 'undecided' | 'rest'
  n: number
}

/** All connections in parts, those that are none left out. */
export function partsOf({ connections, matched, undecided }: Pick<DryRun, 'connections' | 'matched' | 'undecided'>): Part[] {
  const parts: Part[] = [
    { kind: 'matched', n: matched },
    { kind: 'undecided', n: undecided },
    { kind: 'rest', n: Math.max(0, connections - matched - undecided) },
  ]
  return parts.filter(({ n }) => n > 0)
}

export const dryRunTones: Record<DryRunSample['outcome'], Tone> = { matched: 'good', undecided: 'warn', not_matched: 'idle' }

/** Services that the won ones have now, most first. */
export function losers(dryRun: Pick<DryRun, 'by_service'>): { service: string; n: number }[] {
  return Object.entries(dryRun.by_service)
    .map(([service, n]) => ({ service, n }))
    .sort((a, b) => b.n - a.n || a.service.localeCompare(b.service))
}

/** Samples of one fate are one line, with how many there are among the samples. */
export interface SampleGroup {
  sample: DryRunSample
  clients: string[]
  n: number
}

export function groupSamples(samples: readonly DryRunSample[]): SampleGroup[] {
  const groups = new Map<string, SampleGroup>()
  for (const sample of samples) {
    const key = JSON.stringify([sample.service, sample.rule, sample.outcome, sample.moves, sample.would, sample.because])
    const group = groups.get(key)
    if (!group) groups.set(key, { sample, clients: [sample.client_ip], n: 1 })
    else {
      group.n += 1
      if (!group.clients.includes(sample.client_ip)) group.clients.push(sample.client_ip)
    }
  }
  const rank = ({ moves, outcome }: DryRunSample) => (moves ? 0 : outcome === 'matched' ? 1 : outcome === 'undecided' ? 2 : 3)
  return [...groups.values()].sort((a, b) => rank(a.sample) - rank(b.sample) || b.n - a.n)
}
