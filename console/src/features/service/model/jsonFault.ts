/** Where a text stops being JSON. Browsers say so in different ways, and some not at all. Pure. */

const SPACE = /[ \t\r\n]*/y
const STRING = /"(?:[^"\\\p{Cc}]|\\(?:["\\/bfnrt]|u[\da-fA-F]{4}))*"/uy
const SIMPLE = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y

/** The line, from 1, of the first place that is wrong; nothing: it is JSON. */
export function faultyLine(text: string): number | undefined {
  let at = 0

  function take(pattern: RegExp): boolean {
    pattern.lastIndex = at
    const found = pattern.exec(text)
    if (found) at += found[0].length
    return found !== null
  }

  function sign(wanted: string): boolean {
    take(SPACE)
    if (text[at] !== wanted) return false
    at += 1
    return true
  }

  function list(end: string, item: () => boolean): boolean {
    if (sign(end)) return true
    do if (!item()) return false
    while (sign(','))
    return sign(end)
  }

  function value(): boolean {
    take(SPACE)
    if (sign('{')) return list('}', () => (take(SPACE), take(STRING)) && sign(':') && value())
    if (sign('[')) return list(']', value)
    return take(STRING) || take(SIMPLE)
  }

  const good = value() && (take(SPACE), at === text.length)
  return good ? undefined : text.slice(0, at).split('\n').length
}
