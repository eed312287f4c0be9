import type { Tone } from '@/ui/StatusTag.vue'

/** What events are about, in the order in which people look for them. */
export const groups = ['service', 'instance', 'connection', 'rule', 'notification', 'storage', 'clock', 'manager'] as const
export type Group = (typeof groups)[number]

/** All kinds that have words of their own (`events.kinds.…`), with how good or bad they are. What somebody did is neither: colours are for how the fleet is. */
const tones = {
  service: { registered: 'idle', updated: 'idle', unregistered: 'idle', start: 'idle', stop: 'idle', restart: 'idle' },
  instance: {
    running: 'good', stopped: 'idle', attached: 'good', exited: 'warn', error: 'bad', restarting: 'busy', unhealthy: 'bad',
    worker_lost: 'warn', worker_recycled: 'warn', worker_protocol: 'warn', thread_stuck: 'warn', loop_blocked: 'warn',
    runner_lost: 'bad', runner_hangs: 'bad', draining: 'busy', drained: 'idle', port_held: 'warn', journal: 'warn',
    log_dropped: 'warn', cpu_limit_unavailable: 'warn',
  },
  connection: { opened: 'idle', closed: 'idle', disconnect: 'idle' },
  rule: { created: 'idle', updated: 'idle', deleted: 'idle', unusable: 'warn' },
  notification: { sent: 'busy' },
  storage: { failed: 'bad', recovered: 'good' },
  clock: { jumped: 'warn' },
  manager: { shutdown: 'idle', ended: 'idle' },
} as const satisfies Record<Group, Record<string, Tone>>

/** Every kind, with its words' key. */
export const kinds: readonly string[] = groups.flatMap((group) => kindsOf(group))

export function kindsOf(group: Group): string[] {
  return Object.keys(tones[group]).map((what) => `${group}.${what}`)
}

export interface KindLook {
  /** Key of its words; none of a kind that this console does not know: then the kind itself is shown. */
  words: string | undefined
  tone: Tone
  group: Group | undefined
}

/** How a kind is shown. */
export function lookOf(kind: string): KindLook {
  const [subject = '', what = ''] = kind.split('.')
  const group = groups.find((each) => each === subject)
  const known: Record<string, Tone> = group ? tones[group] : {}
  const tone = Object.hasOwn(known, what) ? known[what] : undefined
  return { words: tone && `events.kinds.${subject}.${what}`, tone: tone ?? 'idle', group }
}

/** Who does things. */
export const actors = ['api', 'cli', 'manager', 'runner'] as const

/** Key of the words for `who`, if it is somebody known. */
export function actorWords(who: string): string | undefined {
  const known = actors.find((each) => each === who)
  return known && `events.actors.${known}`
}

/** Also the coming and going of clients. */
export const EVERY_KIND = 'all'

/** Of a busy fleet most events are these, and few want to see them. */
export function isComingOrGoing(kind: string): boolean {
  return kind === 'connection.opened' || kind === 'connection.closed'
}

/** What the API is asked for to show what a filter wants. */
export function kindsAsked(wanted: string): string | undefined {
  if (wanted === EVERY_KIND) return undefined
  return wanted === '' ? NOTEWORTHY : wanted
}

/** What somebody who looks at the whole fleet wants to know: everything but the coming and going of clients. */
export const NOTEWORTHY = groups.map((group) => (group === 'connection' ? 'connection.disconnect' : `${group}.`)).join()
