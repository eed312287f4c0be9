import { onScopeDispose } from 'vue'
import { fromSnapshot, snapshotOf } from './model/snapshot'
import { emptyConversation, type Conversation } from './model/state'

/** Often enough that a reload loses nothing worth speaking of: the server sends again what came later. */
const SAVE_MS = 500

/** The conversation of this tab with a service, kept over a reload. A browser may refuse to; then the server's part comes again. */
export function useKeptConversation(service: string) {
  const key = `myagent.chat.${service}`
  let timer = 0
  let newest: Conversation | undefined

  function load(sessionId: string): Conversation {
    if (sessionId === '') return emptyConversation()
    try {
      return fromSnapshot(sessionStorage.getItem(key), sessionId)
    } catch {
      return emptyConversation(sessionId)
    }
  }

  function store() {
    timer = 0
    const text = newest && snapshotOf(newest)
    try {
      if (text === undefined) sessionStorage.removeItem(key)
      else sessionStorage.setItem(key, text)
    } catch {
      // See above.
    }
  }

  function save(state: Conversation) {
    newest = state
    if (timer === 0) timer = window.setTimeout(store, SAVE_MS)
  }

  function now() {
    if (timer === 0) return
    window.clearTimeout(timer)
    store()
  }

  window.addEventListener('pagehide', now)
  onScopeDispose(() => {
    window.removeEventListener('pagehide', now)
    now()
  })
  return { load, save }
}
