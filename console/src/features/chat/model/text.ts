/** An answer as pieces that are shown in different ways: plain text, and blocks of code between fences. Pure. */

export type Piece = { kind: 'text'; text: string } | { kind: 'code'; language: string; text: string }

/** Longer texts and more pieces than anybody reads are shown plainly: a browser would lay them out for ever. */
const MOST_TEXT = 200_000
const MOST_PIECES = 500
const MOST_SPANS = 2_000

/** A line that begins or ends a block. In two steps: a single pattern for all of it takes time without end on some lines. */
function fenceOf(line: string): { fence: string; language: string } | undefined {
  const [begin, fence] = /^ {0,3}(`{3,}|~{3,})/.exec(line) ?? []
  if (begin === undefined || fence === undefined) return undefined
  const rest = line.slice(begin.length)
  return rest.includes('`') ? undefined : { fence, language: rest.trim().split(/\s/, 1)[0] ?? '' }
}

export function pieces(text: string): Piece[] {
  if (text.length > MOST_TEXT) return [{ kind: 'text', text }]
  const found: Piece[] = []
  let lines: string[] = []
  let open: { fence: string; language: string } | undefined

  const flush = () => {
    const body = lines.join('\n')
    lines = []
    if (open) found.push({ kind: 'code', language: open.language, text: body })
    else if (body.trim() !== '') found.push({ kind: 'text', text: body.replace(/^\n+/, '').trimEnd() })
  }

  for (const line of text.split('\n')) {
    const fence = fenceOf(line)
    const begins = fence !== undefined && open === undefined && found.length < MOST_PIECES
    const ends = fence !== undefined && open !== undefined && fence.language === '' && fence.fence.startsWith(open.fence)
    if (!begins && !ends) {
      lines.push(line)
      continue
    }
    flush()
    open = begins ? fence : undefined
  }
  // A block whose end has not come yet is a block already: the answer is still being written.
  if (open ?? lines.length > 0) flush()
  return found
}

export type Span = { kind: 'plain' | 'code' | 'strong'; text: string }

/** `code` and **strong** words within a line of text. */
export function spans(text: string): Span[] {
  const parts = text.length > MOST_TEXT ? [text] : text.split(/(`[^`\n]+`|\*\*[^*\n]+\*\*)/)
  return [...parts.slice(0, MOST_SPANS), parts.slice(MOST_SPANS).join('')]
    .filter((part) => part !== '')
    .map((part) => {
      if (/^`[^`]+`$/.test(part)) return { kind: 'code', text: part.slice(1, -1) }
      if (/^\*\*[^*]+\*\*$/.test(part)) return { kind: 'strong', text: part.slice(2, -2) }
      return { kind: 'plain', text: part }
    })
}
