/** Command lines as people write them, and as programs get them. No shell is behind it: nothing is expanded. Pure. */

export interface CommandLine {
  argv: string[]
  /** A quote that is not closed, or a backslash with nothing after it. */
  open: boolean
  /** Something only a shell would understand, as `|` or `$HOME`: it is passed on as it stands. */
  shell: string[]
}

/** Quotes and backslashes mean what they mean in a POSIX shell. */
export function parseArgv(line: string): CommandLine {
  const argv: string[] = []
  const shell = new Set<string>()
  let word: string | undefined
  let quote = ''
  let open = false
  for (let at = 0; at < line.length; at += 1) {
    const char = line.charAt(at)
    if (quote === "'") {
      if (char === quote) quote = ''
      else word += char
    } else if (char === '\\') {
      at += 1
      const next = line.charAt(at)
      if (next === '') open = true
      else if (next === '\n') continue
      else word = (word ?? '') + (quote === '"' && !'"\\$`'.includes(next) ? char + next : next)
    } else if (char === quote) quote = ''
    else if (quote === '' && (char === '"' || char === "'")) {
      quote = char
      word ??= ''
    } else if (quote === '' && /\s/.test(char)) {
      if (word !== undefined) argv.push(word)
      word = undefined
    } else {
      if (char === '$' || char === '`' || (quote === '' && '|&;<>*?~'.includes(char))) shell.add(char)
      word = (word ?? '') + char
    }
  }
  if (word !== undefined) argv.push(word)
  return { argv, open: open || quote !== '', shell: [...shell] }
}

/** A word as a shell must read it to get `word`. */
export function quoteWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`
}

export const quoteArgv = (argv: readonly string[]) => argv.map(quoteWord).join(' ')

/** The program is found by its name through `env`, because the API takes absolute paths only. */
export const throughEnv = (line: string) => `/usr/bin/env ${line.trimStart()}`
