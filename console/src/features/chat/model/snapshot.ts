/** A conversation as text that a reload of the page can go on with. Pure. */
import { isObject } from './protocol'
import { emptyConversation, type Conversation, type Item } from './state'

const VERSION = 1
/** What a browser stores for a site is a few mebibytes. */
const MOST_TEXT = 1_000_000

interface Snapshot extends Pick<Conversation, 'sessionId' | 'agentName' | 'sequence' | 'open' | 'numbered' | 'nextId'> {
  version: number
  items: readonly Item[]
}

/** None if there is no session, or so much was said that it is not worth it. */
export function snapshotOf(state: Conversation): string | undefined {
  if (state.sessionId === undefined || state.raw) return undefined
  const { sessionId, agentName, sequence, open, numbered, nextId, items } = state
  const snapshot: Snapshot = { version: VERSION, sessionId, agentName, sequence, open, numbered, nextId, items }
  const text = JSON.stringify(snapshot)
  return text.length > MOST_TEXT ? undefined : text
}

/** What nobody but us writes may nevertheless be anything, and would break the page at each reload. */
function isWhole({ items, open, sequence, nextId }: Record<string, unknown>): boolean {
  const isSequence = isObject(sequence) && typeof sequence.last === 'number' && Array.isArray(sequence.missing)
  return Array.isArray(items) && items.every(isObject) && Array.isArray(open) && isSequence && typeof nextId === 'number'
}

/** The conversation of the session; an empty one that begins with all the server has, if nothing fits. */
export function fromSnapshot(text: string | null, sessionId: string): Conversation {
  const empty = emptyConversation(sessionId)
  try {
    const found: unknown = JSON.parse(text ?? 'null')
    if (!isObject(found) || found.version !== VERSION || found.sessionId !== sessionId || !isWhole(found)) return empty
    const { version: _version, ...known } = found as unknown as Snapshot
    return { ...empty, ...known }
  } catch {
    return empty
  }
}
