/** What comes over the wire, and what it means for a turn. Pure. */
import { parsed } from '@/api/json'

export interface AgentEvent {
  event: string
  session_id?: string
  step_id?: string
  seq?: number
  content: unknown
  metadata: Record<string, unknown>
}

/** The event in a frame; none if the frame is of another language. */
export function parseFrame(text: string): AgentEvent | undefined {
  const value = parsed(text)
  if (!isObject(value) || typeof value.event !== 'string') return undefined
  return {
    event: value.event,
    session_id: typeof value.session_id === 'string' ? value.session_id : undefined,
    step_id: typeof value.step_id === 'string' ? value.step_id : undefined,
    seq: typeof value.seq === 'number' ? value.seq : undefined,
    content: value.content,
    metadata: isObject(value.metadata) ? value.metadata : {},
  }
}

/** `{"type":"pong"}`, the answer to our own question whether somebody is there. */
export function isPong(text: string): boolean {
  const value = parsed(text)
  return isObject(value) && value.type === 'pong'
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Content as it is shown: text stays, anything else becomes JSON. */
export function asText(content: unknown): string {
  if (typeof content === 'string') return content
  return content === undefined || content === null ? '' : JSON.stringify(content, null, 2)
}

export const codeOf = (event: AgentEvent) => (typeof event.metadata.code === 'string' ? event.metadata.code : '')

/** A number of the metadata. */
export function numberOf(event: AgentEvent, name: string): number | undefined {
  const value = event.metadata[name]
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined
}

/** `retry_after_ms` within reason. */
export const retryAfterMs = (event: AgentEvent) => Math.min(Math.max(numberOf(event, 'retry_after_ms') ?? 0, 0), 60_000)

/** Errors that say something beside the turn, and those that refuse the message just sent. */
const ASIDE = new Set(['UNKNOWN_STEP', 'EVENT_FAILED', 'NOT_READY'])
const REFUSED = new Set(['BUSY', 'EMPTY_MESSAGE'])

/**
 * What an event says of the messages that wait for their answers: the `oldest` is at its end, the `newest` was refused,
 * it belongs to an answer (`part`), or it is `aside`.
 */
export function meaningForTurn(event: AgentEvent): 'oldest' | 'newest' | 'part' | 'aside' {
  switch (event.event) {
    case 'agent.final_answer':
      return 'oldest'
    case 'agent.interrupted':
      return event.metadata.reason === 'nothing_running' ? 'aside' : 'oldest'
    case 'agent.error':
      return ASIDE.has(codeOf(event)) ? 'aside' : REFUSED.has(codeOf(event)) ? 'newest' : 'oldest'
    case 'agent.state_exported':
      return 'aside'
    default:
      return 'part'
  }
}
