/** What the specs of the machine have in common. */
import { reduce, type Input } from './conversation'
import { emptyConversation, type AnswerItem, type Conversation, type Item, type Part } from './state'
import type { Effect } from './steps'

export const SESSION = 's1'

/** A machine that is driven, and remembers what it wanted. */
export class Driven {
  state: Conversation
  effects: Effect[] = []
  now = 1_000

  constructor(state = emptyConversation()) {
    this.state = state
  }

  on(...inputs: Input[]) {
    for (const input of inputs) {
      const step = reduce(this.state, input, this.now)
      this.state = step.state
      this.effects = step.effects
    }
    return this
  }

  hear(...events: Record<string, unknown>[]) {
    return this.on(...events.map((event): Input => ({ kind: 'frame', text: JSON.stringify(event) })))
  }

  /** An event of the session. */
  event(event: string, seq: number | undefined, more: Record<string, unknown> = {}) {
    return this.hear({ event, session_id: SESSION, seq, ...more })
  }

  get sent(): Record<string, unknown>[] {
    return this.effects.filter((effect) => effect.kind === 'send').map(({ frame }) => JSON.parse(frame) as Record<string, unknown>)
  }

  get answers(): AnswerItem[] {
    return this.state.items.filter((item) => item.kind === 'answer')
  }

  get parts(): readonly Part[] {
    return this.answers.at(-1)?.parts ?? []
  }

  of<K extends Item['kind']>(kind: K): Extract<Item, { kind: K }>[] {
    return this.state.items.filter((item): item is Extract<Item, { kind: K }> => item.kind === kind)
  }
}

export const greeting = { event: 'system.connected', metadata: { connection_id: 'c1' } }
export const created = { event: 'agent.session_created', session_id: SESSION, seq: 1, metadata: { agent_name: 'echo' } }
export const close = (code: number, chance = 1): Input => ({ kind: 'closed', code, reason: 'why', chance })
export const say = (text: string): Input => ({ kind: 'say', text })

export const connected = () => new Driven().on({ kind: 'connect' }, { kind: 'opened' }).hear(greeting)
export const live = () => connected().hear(created)
export const asked = (text = 'hello') => live().on(say(text))
