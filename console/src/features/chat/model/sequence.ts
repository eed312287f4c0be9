/** Which events of a session have come: each is shown once, and what is missing is known. Pure. */

export interface Sequence {
  /** The highest number that came. */
  last: number
  /** Numbers below it that have not come. */
  missing: readonly number[]
}

/** So many missing numbers are remembered; whoever leaves out more is not waited for. */
const MOST_MISSING = 1_000

export const noEvents: Sequence = { last: 0, missing: [] }

interface Taken {
  sequence: Sequence
  /** It was shown already. */
  seen: boolean
  /** First and last number that should have come before it. */
  gap?: { from: number; to: number }
}

export function take(sequence: Sequence, seq: number): Taken {
  if (seq > sequence.last) {
    const from = sequence.last + 1
    if (seq === from) return { sequence: { ...sequence, last: seq }, seen: false }
    const skipped = Array.from({ length: Math.min(seq - from, MOST_MISSING) }, (_, index) => seq - 1 - index).reverse()
    const missing = [...sequence.missing, ...skipped].slice(-MOST_MISSING)
    return { sequence: { last: seq, missing }, seen: false, gap: { from, to: seq - 1 } }
  }
  if (!sequence.missing.includes(seq)) return { sequence, seen: true }
  return { sequence: { ...sequence, missing: sequence.missing.filter((number) => number !== seq) }, seen: false }
}

/** The server says that nothing up to `to` will come any more. */
export function giveUp(sequence: Sequence, to: number): Sequence {
  return { last: Math.max(sequence.last, to), missing: sequence.missing.filter((number) => number > to) }
}

/** The server knows of no event beyond `serverLast`: later numbers are used again. */
export function rewind(sequence: Sequence, serverLast: number): Sequence {
  if (serverLast >= sequence.last) return sequence
  return { last: serverLast, missing: sequence.missing.filter((number) => number < serverLast) }
}

/** All that the server had has come. */
export const complete = (sequence: Sequence): Sequence => ({ ...sequence, missing: [] })

/** What is said when coming back: everything after it is wanted. */
export const resumeAfter = (sequence: Sequence): number => Math.min(sequence.last, (sequence.missing[0] ?? Infinity) - 1)
