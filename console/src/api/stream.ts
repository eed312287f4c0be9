import { ApiProblem } from './problem'
import { SseParser, type Message } from './sse'

export interface StreamOptions {
  /** Called when the server has answered, before any message. */
  onOpen: () => void
  onMessage: (message: Message) => void
  signal: AbortSignal
  /** Nothing for so long, not even a comment: the stream is dead. The manager sends one each 15 s. */
  silenceMs?: number
}

const SILENCE_MS = 35_000

/**
 * Reads the event stream at `url` until it ends, fails, falls silent or is aborted. `EventSource` is not used because it
 * does not tell silence from an idle stream, nor why it was refused.
 */
export async function readStream(url: string, options: StreamOptions): Promise<void> {
  const { onOpen, onMessage, signal, silenceMs = SILENCE_MS } = options
  signal.throwIfAborted()
  const cut = new AbortController()
  const abort = () => cut.abort(signal.reason)
  signal.addEventListener('abort', abort, { once: true })
  let watch = 0
  const heard = () => {
    window.clearTimeout(watch)
    watch = window.setTimeout(() => cut.abort(new Error('silence')), silenceMs)
  }
  try {
    heard()
    const response = await fetch(url, { headers: { accept: 'text/event-stream' }, signal: cut.signal, cache: 'no-store' })
    if (!response.ok || response.body === null) {
      throw new ApiProblem(response.status, await response.json().catch(() => undefined))
    }
    onOpen()
    const parser = new SseParser()
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      heard()
      parser.push(value).forEach(onMessage)
    }
  } finally {
    window.clearTimeout(watch)
    signal.removeEventListener('abort', abort)
    cut.abort()
  }
}
