import type { MessageFunction, PathValue } from 'vue-i18n'

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
  return typeof found === 'string' && !SPECIAL.test(found) ? asItIs(found) : (found as PathValue)
}

/** What has a meaning in a text: values, linked texts, plurals. */
const SPECIAL = /[{}@|%\\]/

const plain = new Map<string, MessageFunction<string>>()

/** Most texts stay as they are. To compile hundreds of them would take a good part of the time that a page needs. */
function asItIs(text: string): MessageFunction<string> {
  const known = plain.get(text)
  if (known) return known
  const made = () => text
  plain.set(text, made)
  return made
}
