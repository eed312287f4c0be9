/** Trying again what has ended. */

const FIRST_MS = 500
const LONGEST_MS = 5_000
/** What has lasted for so long was well: a stream that ends as soon as it is open must not be asked for all the time. */
const STABLE_MS = 10_000

/** The waits between tries: each twice as long as the one before, and short again after one that lasted. */
export class Backoff {
  private nextMs = FIRST_MS

  /** How long to wait after what has lasted for `lastedMs`. */
  next(lastedMs: number): number {
    const ms = lastedMs >= STABLE_MS ? FIRST_MS : this.nextMs
    this.nextMs = Math.min(2 * ms, LONGEST_MS)
    return ms
  }
}

/** Waits for `ms`, or until `signal`. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve()
    const end = () => {
      window.clearTimeout(timer)
      signal.removeEventListener('abort', end)
      resolve()
    }
    const timer = window.setTimeout(end, ms)
    signal.addEventListener('abort', end)
  })
}
