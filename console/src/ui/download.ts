/** Has the browser save a text as a file. */
export function download({ name, type, text }: { name: string; type: string; text: string }) {
  const url = URL.createObjectURL(new Blob([text], { type }))
  const link = document.createElement('a')
  link.href = url
  link.download = name
  link.click()
  // The browser reads it after the click.
  window.setTimeout(() => URL.revokeObjectURL(url), 10_000)
}
