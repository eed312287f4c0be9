import { reachOf } from './effort'

/** A piece of a line, found or not. */
export interface Piece {
  text: string
  found: boolean
}

/** Longer lines are searched only so far: nobody reads on. */
const SEARCHED = 10_000
const MOST_PIECES = 200
/** A finder that took so long in all marks nothing more: many slow lines would keep the page from everything else. */
const MOST_MS = 300

/** How far patterns search, and how long they took so far. */
const patterns = new WeakMap<RegExp, { reach: number; ms: number }>()

/** A finder of what somebody typed, in any case: each of its words for itself would find too much. */
export function finderOf(text: string): RegExp | undefined {
  const wanted = text.trim()
  return wanted === '' ? undefined : new RegExp(wanted.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'), 'gi')
}

/**
 * A finder of a regular expression as the manager reads it. What this browser cannot read (the manager knows other
 * forms), or may search for ever, is not marked; the lines are found nevertheless.
 */
export function patternOf(text: string): RegExp | undefined {
  if (text === '') return undefined
  const flags = /^\(\?([a-z]+)\)/.exec(text)
  const ignoreCase = flags?.[1]?.includes('i') ? 'i' : ''
  const source = flags ? text.slice(flags[0].length) : text
  const reach = reachOf(source)
  if (reach === 0) return undefined
  try {
    const finder = new RegExp(source, `g${ignoreCase}`)
    patterns.set(finder, { reach, ms: 0 })
    return finder
  } catch {
    return undefined
  }
}

/** A line in pieces, so that what `finder` finds can be marked. Together they are the line. */
export function piecesOf(line: string, finder: RegExp | undefined): Piece[] {
  const effort = finder && patterns.get(finder)
  if (finder === undefined || (effort?.ms ?? 0) > MOST_MS) return [{ text: line, found: false }]
  const began = performance.now()
  const pieces: Piece[] = []
  let end = 0
  for (const match of line.slice(0, effort?.reach ?? SEARCHED).matchAll(finder)) {
    if (match[0] === '') continue
    if (match.index > end) pieces.push({ text: line.slice(end, match.index), found: false })
    pieces.push({ text: match[0], found: true })
    end = match.index + match[0].length
    if (pieces.length >= MOST_PIECES) break
  }
  if (effort) effort.ms += performance.now() - began
  if (end < line.length || pieces.length === 0) pieces.push({ text: line.slice(end), found: false })
  return pieces
}
