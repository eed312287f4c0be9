/** What the end of a connection means, and when to come back. Pure. */

const FIRST_DELAY_MS = 100
const LONGEST_DELAY_MS = 10_000

/** The wait before the next try: doubled each time, half of it by chance (0 to 1), never less than was asked for. */
export function delay(tries: number, chance: number, atLeastMs = 0): number {
  const whole = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(tries, 20))
  return Math.round(Math.max(whole * (0.5 + 0.5 * chance), atLeastMs))
}

/** Ends after which another try makes sense without anybody's doing; an operator's and an agent's own end are meant. */
const COMES_BACK = new Set([1001, 1006, 1009, 1011, 1012, 1013, 1014])

export const comesBack = (code: number) => COMES_BACK.has(code)

const KNOWN = [1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1011, 1012, 1013] as const

export type CloseWord = `c${(typeof KNOWN)[number]}` | 'own' | 'other'

/** The name of the words for a close code. */
export function closeWord(code: number): CloseWord {
  const known = KNOWN.find((one) => one === code)
  if (known !== undefined) return `c${known}`
  return code >= 3000 && code <= 4999 ? 'own' : 'other'
}
