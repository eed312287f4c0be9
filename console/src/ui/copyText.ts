/** Puts `text` on the clipboard. Without https, pages have none, but on this machine they do; then it goes by a selection. */
export async function copyText(text: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text)
  } catch {
    const area = document.createElement('textarea')
    area.value = text
    area.className = 'sr-only'
    document.body.append(area)
    area.select()
    document.execCommand('copy')
    area.remove()
  }
}
