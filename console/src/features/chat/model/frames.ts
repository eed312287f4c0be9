/** The frames that the inspector shows: the newest of them, as they went over the wire. Pure. */

export interface Frame {
  id: number
  at: number
  /** `note`: something that happened to the connection itself. */
  direction: 'in' | 'out' | 'note'
  bytes: number
  /** Name of the event, or the beginning of the text. */
  title: string
  text: string
}

export const MOST_FRAMES = 2_000
/** Of a larger frame the beginning is kept: two thousand of a mebibyte would be the whole memory of the page. */
export const MOST_TEXT = 64 * 1024
/** So much text is kept in all. */
export const MOST_TEXT_IN_ALL = 16 * 1024 * 1024
const MOST_TITLE = 80

export function frameOf(id: number, at: number, direction: Frame['direction'], text: string, bytes = byteLength(text)): Frame {
  return { id, at, direction, bytes, title: titleOf(text), text: text.length > MOST_TEXT ? `${text.slice(0, MOST_TEXT)}…` : text }
}

const byteLength = (text: string) => new TextEncoder().encode(text).length

function titleOf(text: string): string {
  const event = /^\s*\{\s*"(?:event|type)"\s*:\s*"([^"]{1,80})"/.exec(text)?.[1] ?? /"event"\s*:\s*"([^"]{1,80})"/.exec(text.slice(0, 2_000))?.[1]
  return event ?? text.slice(0, MOST_TITLE)
}

/** With one more; the oldest leave. */
export function withFrames(frames: readonly Frame[], more: readonly Frame[]): Frame[] {
  const kept = [...frames, ...more].slice(-MOST_FRAMES)
  let room = MOST_TEXT_IN_ALL
  const first = kept.findLastIndex(({ text }) => (room -= text.length) < 0) + 1
  return first === 0 ? kept : kept.slice(first)
}

export interface FrameFilter {
  search: string
  direction: string
}

export function filterFrames(frames: readonly Frame[], { search, direction }: FrameFilter): readonly Frame[] {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean)
  if (words.length === 0 && direction === '') return frames
  return frames.filter((frame) => {
    if (direction !== '' && frame.direction !== direction) return false
    const text = frame.text.toLowerCase()
    return words.every((word) => text.includes(word))
  })
}

/** JSON with line breaks; anything else as it is. */
export function pretty(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2)
  } catch {
    return text
  }
}

/** All that is shown, one frame each line, as a file that other tools read. */
export function asLines(frames: readonly Frame[]): string {
  return frames.map(({ at, direction, text }) => JSON.stringify({ at: new Date(at).toISOString(), direction, text })).join('\n')
}
