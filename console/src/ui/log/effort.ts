/**
 * How much a regular expression may take. The manager's expressions never take long; those of browsers can take for ever
 * at a line that almost fits, and nothing stops them: the page hangs. Pure.
 */

/** Characters of a line that are searched, as many as the steps for them are few. */
const REACHES = [10_000, 2_000, 500, 100]
const MOST_STEPS = 5e8

interface Group {
  /** Something in it can fit in more than one way. */
  choice: boolean
}

/** How far into a line `source` may be searched; 0: not at all. */
export function reachOf(source: string): number {
  const found = choicesOf(source)
  if (found === undefined) return 0
  const { loops, options } = found
  const ways = 2 ** options / factorial(loops + 1)
  return REACHES.find((reach) => reach ** (loops + 1) * ways <= MOST_STEPS) ?? 0
}

const factorial = (n: number): number => (n <= 1 ? 1 : n * factorial(n - 1))

/** Character class, escape, beginning and end of a group, quantifier, alternative; all else is plain. */
const TOKEN = /\[(?:\\.|[^\]\\])*\]|\\.|\((?:\?(?:[:=!]|<[=!]|<[^>]*>))?|\)|[*+?]\??|\{\d+(?:,\d*)?\}\??|\|/gs

/** How many choices there are at each place of a line; none if they multiply: a choice that is repeated. */
function choicesOf(source: string): { loops: number; options: number } | undefined {
  const groups: Group[] = [{ choice: false }]
  let closed: Group | undefined
  let loops = 0
  let options = 0
  let end = 0
  for (const { 0: token, index } of source.matchAll(TOKEN)) {
    if (index > end) closed = undefined
    end = index + token.length
    const quantifier = /^[*+?]|^\{\d+,/.test(token)
    if (token.startsWith('(')) groups.push({ choice: false })
    else if (quantifier || token === '|') groups.forEach((group) => (group.choice = true))
    if (closed?.choice && /^[*+{]/.test(token)) return undefined
    if (token === '|' || token.startsWith('?')) options += 1
    else if (quantifier || /^\\[1-9k]/.test(token)) loops += 1
    closed = token === ')' && groups.length > 1 ? groups.pop() : undefined
  }
  return { loops, options }
}
