/** What the events of a session do to the answers that are shown. Pure. */
import { asText, codeOf, isObject, meaningForTurn, type AgentEvent } from './protocol'
import { changeUser, withItem, type AnswerItem, type Conversation, type Part } from './state'

/** So many steps of an answer are shown; older ones leave. */
const MOST_PARTS = 500

/** An event of the session that is new. */
export function applyEvent(state: Conversation, event: AgentEvent, now: number): Conversation {
  switch (meaningForTurn(event)) {
    case 'aside':
      return event.event === 'agent.error' ? withItem(state, { kind: 'note', at: now, code: 'agentError', tone: 'warn', text: asText(event.content), values: { code: codeOf(event) } }) : state
    case 'newest':
      return refuseNewest(state, event, now)
    case 'oldest':
      return endTurn(state, event, now)
    case 'part':
      return addPart(event.metadata.turn_restarted === true ? restartTurn(state, now) : state, event, now)
  }
}

/** The pieces that came of the running answer are void: it is made anew. */
export function restartTurn(state: Conversation, now: number): Conversation {
  const running = runningOf(state)
  if (!running || running.parts.every((part) => part.kind === 'restarted')) return running ? state : begin(state, now)
  return changeRunning(state, () => ({ parts: [{ kind: 'restarted' }] }))
}

export const runningOf = (state: Conversation): AnswerItem | undefined =>
  state.items.findLast((item): item is AnswerItem => item.kind === 'answer' && item.state === 'running')

/** The answer to the oldest message begins, where that message stands. */
function begin(state: Conversation, now: number): Conversation {
  const message = state.open[0]
  const item = { kind: 'answer' as const, at: now, since: sinceOf(state, message) ?? now, parts: [], state: 'running' as const }
  return withItem(state, item, message === 0 ? undefined : message)
}

/** Since when somebody waits for it: from the message on, or from the end of the answer before. */
function sinceOf(state: Conversation, message: number | undefined): number | undefined {
  const asked = state.items.find((item) => item.kind === 'user' && item.id === message)
  if (!asked) return undefined
  return Math.max(asked.at, ...state.items.map((item) => (item.kind === 'answer' ? (item.endedAt ?? 0) : 0)))
}

function changeRunning(state: Conversation, change: (answer: AnswerItem) => Partial<AnswerItem>): Conversation {
  const running = runningOf(state)
  if (!running) return state
  return { ...state, items: state.items.map((item) => (item === running ? { ...running, ...change(running) } : item)) }
}

function refuseNewest(state: Conversation, event: AgentEvent, now: number): Conversation {
  const newest = state.open.at(-1)
  if (!newest) return withItem(state, { kind: 'note', at: now, code: 'agentError', tone: 'warn', text: asText(event.content), values: { code: codeOf(event) } })
  return changeUser({ ...state, open: state.open.slice(0, -1) }, newest, { state: 'refused', why: asText(event.content) })
}

function endTurn(state: Conversation, event: AgentEvent, now: number): Conversation {
  const begun = runningOf(state) ? state : begin(state, now)
  const ended = changeRunning(begun, (answer) => ({ ...endOf(answer.parts, event), endedAt: now }))
  return { ...ended, open: ended.open.slice(1), cancelling: false }
}

function endOf(parts: readonly Part[], event: AgentEvent): Pick<AnswerItem, 'parts' | 'state'> {
  const closed = parts.map((part) => closePart(part))
  if (event.event === 'agent.final_answer') return { parts: withWhole(closed, asText(event.content)), state: 'done' }
  if (event.event === 'agent.interrupted') return { parts: closed, state: 'cancelled' }
  return { parts: [...closed, errorPart(event)], state: 'failed' }
}

function closePart(part: Part): Part {
  if (part.kind === 'question' && part.state === 'open') return { ...part, state: 'closed' }
  if (part.kind === 'tool' && part.status === 'running') return { ...part, status: 'unknown' }
  return part
}

/** The whole answer counts: the pieces stay where they stand among the steps if they make it up. */
function withWhole(parts: readonly Part[], whole: string): Part[] {
  const pieces = parts.map((part) => (part.kind === 'text' ? part.text : '')).join('')
  if (pieces === whole || whole === '') return [...parts]
  return [...parts.filter((part) => part.kind !== 'text'), { kind: 'text', text: whole }]
}

function errorPart(event: AgentEvent): Part {
  return { kind: 'error', code: codeOf(event), text: asText(event.content), recoverable: event.metadata.recoverable !== false }
}

function addPart(state: Conversation, event: AgentEvent, now: number): Conversation {
  const begun = runningOf(state) ? state : begin(state, now)
  return changeRunning(begun, ({ parts }) => ({ parts: withEvent(parts, event, now).slice(-MOST_PARTS) }))
}

function withEvent(parts: readonly Part[], event: AgentEvent, now: number): Part[] {
  const text = asText(event.content)
  switch (event.event) {
    case 'agent.partial_answer':
      return appended(parts, 'text', text)
    case 'agent.thinking':
      return [...parts, { kind: 'thinking', text }]
    case 'agent.tool_call':
      return [...parts, { kind: 'tool', stepId: event.step_id, tool: toolOf(event, text), args: event.metadata.args, text, status: statusOf(event, 'running'), at: now }]
    case 'agent.tool_result':
      return withResult(parts, event, text, now)
    case 'agent.user_confirm':
      return [...parts, { kind: 'question', stepId: event.step_id ?? '', text, options: optionsOf(event), state: 'open' }]
    default:
      return [...parts, { kind: 'other', event: event.event, text, json: JSON.stringify(event, null, 2) }]
  }
}

/** Of an answer without end so many characters are kept, or up to twice as many: each token would copy them. */
const MOST_ANSWER = 1_000_000

function appended(parts: readonly Part[], kind: 'text', text: string): Part[] {
  const last = parts.at(-1)
  return last?.kind === kind ? [...parts.slice(0, -1), { kind, text: bounded(last.text + text) }] : [...parts, { kind, text: bounded(text) }]
}

const bounded = (text: string) => (text.length > 2 * MOST_ANSWER ? `…${text.slice(-MOST_ANSWER)}` : text)

function withResult(parts: readonly Part[], event: AgentEvent, result: string, now: number): Part[] {
  const error = event.metadata.error === null || event.metadata.error === undefined ? undefined : asText(event.metadata.error)
  const end = { status: statusOf(event, error === undefined ? 'success' : 'error'), result, error, endedAt: now }
  const tool = toolOf(event, '')
  const index = parts.findLastIndex(
    (part) => part.kind === 'tool' && part.endedAt === undefined && (event.step_id === undefined ? part.tool === tool : part.stepId === event.step_id),
  )
  const call = parts[index]
  if (call?.kind === 'tool') return parts.toSpliced(index, 1, { ...call, ...end })
  return [...parts, { kind: 'tool', stepId: event.step_id, tool, args: event.metadata.args, text: '', at: now, ...end }]
}

const toolOf = (event: AgentEvent, text: string) => (typeof event.metadata.tool === 'string' ? event.metadata.tool : text || event.step_id || '?')

const statusOf = (event: AgentEvent, fallback: string) => (typeof event.metadata.status === 'string' ? event.metadata.status : fallback)

/** Nobody chooses from more buttons. */
const MOST_OPTIONS = 100

/** What may be answered; without any an agent takes any text. */
function optionsOf(event: AgentEvent): string[] {
  const { options } = event.metadata
  if (!Array.isArray(options)) return []
  return options.slice(0, MOST_OPTIONS).map((option: unknown) => (isObject(option) ? asText(option.value ?? option.label ?? option) : asText(option)))
}

/** The question `stepId` is answered, or open again because the answer did not arrive. */
export function changeQuestions(state: Conversation, change: (stepId: string, question: Extract<Part, { kind: 'question' }>) => Partial<Part> | undefined): Conversation {
  const parts = (answer: AnswerItem) =>
    answer.parts.map((part) => (part.kind === 'question' ? ({ ...part, ...change(part.stepId, part) } as Part) : part))
  return changeRunning(state, (answer) => ({ parts: parts(answer) }))
}
