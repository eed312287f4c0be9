import type { PathValue } from 'vue-i18n'
import { messageOf } from './messageOf'

/**
 * The text of a dotted key. Keys are made with words that others chose (the state of a tool, a filter in the address),
 * so only what the texts have themselves is found: `constructor` is nothing of theirs.
 */
export function messageAt(texts: unknown, key: string): PathValue {
  let found = texts
  for (const part of key.split('.')) {
    if (typeof found !== 'object' || found === null || !Object.hasOwn(found, part)) return null
    found = (found as Record<string, unknown>)[part]
  }
  return typeof found === 'string' ? messageOf(found) : (found as PathValue)
}
