/** An answer as pieces that are shown in different ways: plain text, and blocks of code between fences. Pure. */

export type Piece = { kind: 'text'; text: string } | { kind: 'code'; language: string; text: string }

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([^\s`]*)[^`]*$/

export function pieces(text: string): Piece[] {
  const found: Piece[] = []
  let lines: string[] = []
  let open: { fence: string; language: string } | undefined

  const flush = () => {
    const body = lines.join('\n')
    lines = []
    if (open) found.push({ kind: 'code', language: open.language, text: body })
    else if (body.trim() !== '') found.push({ kind: 'text', text: body.replace(/^\n+|\s+$/g, '') })
  }

  for (const line of text.split('\n')) {
    const [, fence = '', language = ''] = FENCE.exec(line) ?? []
    const begins = !open && fence !== ''
    const ends = open !== undefined && language === '' && fence.startsWith(open.fence)
    if (!begins && !ends) {
      lines.push(line)
      continue
    }
    flush()
    open = begins ? { fence, language } : undefined
  }
  // A block whose end has not come yet is a block already: the answer is still being written.
  if (open ?? lines.length > 0) flush()
  return found
}

export type Span = { kind: 'plain' | 'code' | 'strong'; text: string }

/** `code` and **strong** words within a line of text. */
export function spans(text: string): Span[] {
  return text
    .split(/(`[^`\n]+`|\*\*[^*\n]+\*\*)/)
    .filter((part) => part !== '')
    .map((part) => {
      if (/^`.+`$/.test(part)) return { kind: 'code', text: part.slice(1, -1) }
      if (/^\*\*.+\*\*$/.test(part)) return { kind: 'strong', text: part.slice(2, -2) }
      return { kind: 'plain', text: part }
    })
}
