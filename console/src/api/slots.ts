/**
 * A browser has six connections for all tabs of a site, and a stream keeps one: three windows beside each other would
 * have none left to ask anything. So few streams of each kind are open at once, whoever has none asks every few seconds.
 */
const MOST = 2

type Kind = 'events' | 'logs'

/** A place for a stream, to be given back by a call; none while all are taken. */
export async function takeSlot(kind: Kind): Promise<(() => void) | undefined> {
  // Pages without https have no locks, except those of this machine.
  if (!('locks' in navigator)) return () => undefined
  for (let place = 0; place < MOST; place += 1) {
    const giveBack = await tryLock(`myagent.stream.${kind}.${place}`)
    if (giveBack) return giveBack
  }
  return undefined
}

/** A lock is held until the promise that its callback gave ends; the browser frees those of pages that are closed. */
function tryLock(name: string): Promise<(() => void) | undefined> {
  return new Promise((resolve) => {
    const held = (lock: Lock | null) => (lock === null ? resolve(undefined) : new Promise<void>((giveBack) => resolve(giveBack)))
    // A browser may refuse locks as it refuses storage: then nobody counts.
    navigator.locks.request(name, { ifAvailable: true }, held).catch(() => resolve(() => undefined))
  })
}
