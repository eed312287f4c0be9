/** Closing many connections, a few at a time. Pure but for what `close` does. */

export type Outcome = 'closed' | 'pending' | 'gone' | 'failed'

export interface Progress {
  total: number
  done: number
  /** How many came to what. */
  outcomes: Record<Outcome, number>
  /** What the first that failed was told. */
  problem?: string
}

export const begun = (total: number): Progress => ({ total, done: 0, outcomes: { closed: 0, pending: 0, gone: 0, failed: 0 } })

export function counted(progress: Progress, outcome: Outcome, problem?: string): Progress {
  return {
    ...progress,
    done: progress.done + 1,
    outcomes: { ...progress.outcomes, [outcome]: progress.outcomes[outcome] + 1 },
    problem: progress.problem ?? problem,
  }
}

/** Each may take two seconds; the manager has others to serve. */
const AT_ONCE = 8

interface Closed {
  outcome: Outcome
  problem?: string
}

export async function closeAll(
  ids: readonly string[],
  close: (id: string) => Promise<Closed>,
  onProgress: (progress: Progress) => void,
  stopped: () => boolean = () => false,
): Promise<Progress> {
  let progress = begun(ids.length)
  let next = 0
  const worker = async () => {
    while (next < ids.length && !stopped()) {
      const id = ids[next] ?? ''
      next += 1
      const { outcome, problem } = await close(id)
      progress = counted(progress, outcome, problem)
      onProgress(progress)
    }
  }
  onProgress(progress)
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, ids.length) }, worker))
  return progress
}

/** Close codes that an endpoint may send. */
export const isCloseCode = (code: number) =>
  Number.isInteger(code) && ((code >= 1000 && code <= 1014 && ![1004, 1005, 1006].includes(code)) || (code >= 3000 && code <= 4999))

/** A close frame has room for so much. */
const MOST_REASON_BYTES = 123

export const isReason = (text: string) => new TextEncoder().encode(text).length <= MOST_REASON_BYTES
