/** Variables as `.env` files have them; read as the command line reads them. Pure. */

export interface Variable {
  key: string
  value: string
}

export interface ReadVariables {
  variables: Variable[]
  /** Numbers of lines that are no `KEY=VALUE`, or whose quote is not closed. */
  wrong: number[]
}

export function parseEnv(text: string): ReadVariables {
  const variables: Variable[] = []
  const wrong: number[] = []
  text.split(/\r?\n/).forEach((raw, index) => {
    const line = raw.trim().replace(/^export /, '')
    if (line === '' || line.startsWith('#')) return
    const equals = line.indexOf('=')
    const key = line.slice(0, Math.max(equals, 0)).trim()
    const value = unquote(line.slice(equals + 1).trim())
    if (key === '' || value === undefined) wrong.push(index + 1)
    else variables.push({ key, value })
  })
  return { variables, wrong }
}

const escapes: Record<string, string> = { n: '\n', t: '\t', r: '\r' }

function unquote(value: string): string | undefined {
  if (value.startsWith("'")) return /^'([^']*)'/.exec(value)?.[1]
  // A comment begins after a space, so that `#` may stand inside a value.
  if (!value.startsWith('"')) return value.replace(/ #.*$/, '').trimEnd()
  const inside = /^"((?:[^"\\]|\\.)*)"/.exec(value)?.[1]
  return inside?.replaceAll(/\\(.)/g, (_, char: string) => escapes[char] ?? char)
}

/** `more` among `rows`: the same key is written over, and rows with nothing in them go. */
export function mergeVariables(rows: readonly Variable[], more: readonly Variable[]): Variable[] {
  const merged = new Map(rows.filter((row) => row.key !== '').map((row) => [row.key, row.value]))
  more.forEach(({ key, value }) => merged.set(key, value))
  return [...merged].map(([key, value]) => ({ key, value }))
}

/** Whether a variable may be called so. */
export const isVariableName = (key: string) => /^[A-Za-z_][A-Za-z0-9_]*$/.test(key)

/** Whether it is likely to be a secret, which is better stored encrypted. */
export const looksSecret = (key: string) => /(^|_)(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)(_|$)/i.test(key)
