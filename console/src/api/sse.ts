/** A server-sent event. Names are those of https://html.spec.whatwg.org/multipage/server-sent-events.html */
export interface Message {
  id: string
  event: string
  data: string
}

/**
 * Reads an event stream that comes in arbitrary pieces. What is kept between pieces is one unfinished line and one
 * unfinished event.
 */
export class SseParser {
  private rest = ''
  private event = ''
  private data: string[] = []
  private lastId = ''

  /** The events that `piece` completes. */
  push(piece: string): Message[] {
    const lines = (this.rest + piece).split(/\r\n|\n|\r(?!$)/)
    this.rest = lines.pop() ?? ''
    return lines.flatMap((line) => this.line(line))
  }

  private line(line: string): Message[] {
    if (line === '') return this.dispatch()
    if (line.startsWith(':')) return []
    const colon = line.indexOf(':')
    const field = colon < 0 ? line : line.slice(0, colon)
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '')
    if (field === 'id') this.lastId = value
    else if (field === 'event') this.event = value
    else if (field === 'data') this.data.push(value)
    return []
  }

  private dispatch(): Message[] {
    const { event, data } = this
    this.event = ''
    this.data = []
    if (data.length === 0) return []
    return [{ id: this.lastId, event: event || 'message', data: data.join('\n') }]
  }
}
