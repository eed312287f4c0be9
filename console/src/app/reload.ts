import { ref } from 'vue'
import { ask, api } from '@/api/client'

const KEY = 'myagent.reloaded'
/** A page that is loaded anew and has the same trouble at once would be loaded for ever. */
const SELDOM_MS = 20_000

/** An upgraded program does not have the files of the page that was opened before. Browsers say it in different words. */
export const isMissingFile = (error: unknown) =>
  /dynamically imported module|Importing a module script|Unable to preload CSS/i.test(String(error))

/** Whether a page may be loaded anew that was so at `before` last, as it was written then. */
export function mayReload(before: string | null, now: number): boolean {
  const ms = Number(before ?? 0)
  return !(Math.abs(now - ms) < SELDOM_MS)
}

/** What was asked for is not there, and loading the page anew has not helped. */
export const isLost = ref(false)

/**
 * Goes to `path` with the files that the program has now; not if it does not answer (then what is shown is the best there
 * is), nor again and again.
 */
export async function loadAnew(path: string) {
  try {
    await ask(api.GET('/api/v1/info'))
  } catch {
    return
  }
  isLost.value = !remembered()
  // With the origin: a path of two slashes would be another site.
  if (!isLost.value) window.location.assign(window.location.origin + path)
}

/** Remembers that the page is loaded anew; not if that was so just now, or the browser refuses to remember. */
function remembered(): boolean {
  try {
    if (!mayReload(sessionStorage.getItem(KEY), Date.now())) return false
    sessionStorage.setItem(KEY, String(Date.now()))
    return true
  } catch {
    return false
  }
}
