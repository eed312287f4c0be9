/** Past health checks as they are shown. Pure. */
import type { HealthRecord, HealthSummary } from '@/api/schema.gen'

/** Checks of one instance, the oldest first, at most the newest `most`. */
export interface Strip {
  instance: string
  checks: HealthRecord[]
  failed: number
}

/** A strip for each of `instances`, also for those that were never checked; then those that are no more. */
export function stripsOf(records: readonly HealthRecord[], instances: readonly string[], most = 60): Strip[] {
  const checks = new Map<string, HealthRecord[]>(instances.map((instance) => [instance, []]))
  for (const record of [...records].sort((a, b) => a.at.localeCompare(b.at))) {
    checks.set(record.instance, [...(checks.get(record.instance) ?? []), record])
  }
  return [...checks].map(([instance, all]) => {
    const newest = all.slice(-most)
    return { instance, checks: newest, failed: newest.filter(({ healthy }) => !healthy).length }
  })
}

/** How high a tick is, of 1: the slowest of the strip is the highest, and a failure always. */
export function heightOf(check: HealthRecord, strip: Strip): number {
  if (!check.healthy) return 1
  const slowest = Math.max(...strip.checks.map(({ latency_ms }) => latency_ms))
  return slowest > 0 ? 0.35 + 0.65 * (check.latency_ms / slowest) : 0.35
}

/** The percentiles that there are, by name. */
export function percentilesOf(summary: HealthSummary): { name: 'p50' | 'p90' | 'p99'; ms: number }[] {
  const all = [
    { name: 'p50', ms: summary.latency_p50_ms },
    { name: 'p90', ms: summary.latency_p90_ms },
    { name: 'p99', ms: summary.latency_p99_ms },
  ] as const
  return all.flatMap(({ name, ms }) => (ms == null ? [] : [{ name, ms }]))
}
