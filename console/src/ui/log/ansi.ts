/**
 * Sequences with which programs colour a terminal, move its cursor or name its window: CSI, OSC and the short ones
 * (ECMA-48), as well as control characters that show nothing.
 */
const SEQUENCES =
  /\u001b\[[0-?]*[ -/]*[@-~]|\u001b\][^\u0007\u001b]*(?:\u0007|\u001b\\|$)|\u001b[PX^_][^\u001b]*(?:\u001b\\|$)|\u001b[ -/]*[0-~]|\u009b[0-?]*[ -/]*[@-~]|[\u0000-\u0008\u000b-\u001f\u007f]/g

/** What a line says without what is meant for a terminal. What a progress bar has written over is left out. */
export function stripAnsi(line: string): string {
  let end = line.length
  while (line[end - 1] === '\r') end -= 1
  const last = line.slice(0, end)
  const visible = last.slice(last.lastIndexOf('\r') + 1)
  return visible.replace(SEQUENCES, '')
}
