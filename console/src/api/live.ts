import { defineStore } from 'pinia'
import { computed, ref, shallowRef } from 'vue'
import { api, ask } from './client'
import { parsed } from './json'
import { Backoff, pause } from './retry'
import type { Event } from './schema.gen'
import { takeSlot } from './slots'
import { readStream } from './stream'

/** How what is shown is kept up to date. */
export type LiveState =
  /** Nothing is known yet. */
  | 'connecting'
  /** Events come as they happen. */
  | 'live'
  /** The API answers, its event stream does not: what is shown is asked for every few seconds. */
  | 'polling'
  /** Nobody answers: what is shown is as old as `since` says. */
  | 'lost'

type Listener = (event: Event) => void

/** Whatever else an event has, these are what everything that hears it counts on. */
function isEvent(value: unknown): value is Event {
  const { id, kind, at } = (value ?? {}) as Partial<Event>
  return typeof id === 'number' && typeof kind === 'string' && !Number.isNaN(Date.parse(String(at)))
}

/** A page that nobody sees for so long gives its stream back: a browser has six connections for all tabs of a site. */
const HIDDEN_MS = 30_000

/** The feed of events: one stream for the whole page, that comes back by itself and misses nothing. */
export const useLive = defineStore('live', () => {
  const state = ref<LiveState>('connecting')
  /** When the manager was heard last before it was lost, ms: so old is what is shown. */
  const since = ref(0)
  let heardAt = Date.now()
  /** Counts how often the stream was opened: what was read before may be stale. */
  const opened = ref(0)
  const newest = shallowRef<Event>()
  const listeners = new Set<Listener>()
  let lastId: string | undefined
  let running: AbortController | undefined
  /** Ends the stream that is open, but not the feed. */
  let stream = new AbortController()
  let wake = new AbortController()
  let suspected = false

  const lost = computed(() => state.value === 'lost')

  function become(next: LiveState) {
    if (next === 'lost' && state.value !== 'lost') since.value = heardAt
    state.value = next
  }

  /** The manager has said something. */
  function hear() {
    heardAt = Date.now()
  }

  function receive(data: string, id: string) {
    if (/^\d+$/.test(id)) lastId = id
    hear()
    const event = parsed(data)
    if (!isEvent(event)) return
    newest.value = event
    listeners.forEach((listener) => listener(event))
  }

  async function follow(signal: AbortSignal) {
    const backoff = new Backoff()
    while (!signal.aborted) {
      const began = Date.now()
      await openStream(signal)
      if (signal.aborted) return
      become((await answers()) ? 'polling' : 'lost')
      wake = new AbortController()
      await pause(backoff.next(Date.now() - began), AbortSignal.any([signal, wake.signal]))
    }
  }

  /** Follows a stream until it ends, if there is a place for one. */
  async function openStream(signal: AbortSignal) {
    const giveBack = await takeSlot('events')
    if (giveBack === undefined) return
    stream = new AbortController()
    try {
      if (lastId !== undefined && !(await isKnown(lastId))) lastId = undefined
      await readStream(`/api/v1/events${lastId === undefined ? '?limit=1' : `?after_id=${lastId}`}`, {
        signal: AbortSignal.any([signal, stream.signal]),
        onOpen: () => {
          opened.value += 1
          hear()
          become('live')
        },
        onMessage: ({ data, id }) => receive(data, id),
      })
    } catch {
      // What is to be said of it is said by whether the API answers.
    } finally {
      giveBack()
    }
  }

  /** A manager that was started with other data counts anew: it would be silent until it has counted so far. */
  async function isKnown(id: string): Promise<boolean> {
    const page = await ask(api.GET('/api/v1/events', { params: { query: { limit: 1 } }, signal: AbortSignal.timeout(3_000) }))
    return typeof page === 'string' || Number(page.items[0]?.id ?? 0) >= Number(id)
  }

  async function answers(): Promise<boolean> {
    try {
      await ask(api.GET('/api/v1/info', { signal: AbortSignal.timeout(3_000) }))
      return true
    } catch {
      return false
    }
  }

  function start() {
    running?.abort()
    running = new AbortController()
    void follow(running.signal)
  }

  function stop() {
    running?.abort()
    running = undefined
  }

  /** Somebody had no answer: the stream may be as dead, which is known otherwise only by its silence. */
  async function suspect() {
    if (suspected || state.value !== 'live') return
    suspected = true
    if (!(await answers())) stream.abort()
    suspected = false
  }

  /** Tries again at once. */
  function retryNow() {
    wake.abort()
  }

  function watchVisibility() {
    let timer = 0
    document.addEventListener('visibilitychange', () => {
      window.clearTimeout(timer)
      if (document.hidden) timer = window.setTimeout(stop, HIDDEN_MS)
      else if (running === undefined) start()
    })
    window.addEventListener('online', retryNow)
  }

  /** Calls `listener` for each event, until the function that is returned is called. */
  function onEvent(listener: Listener): () => void {
    listeners.add(listener)
    return () => listeners.delete(listener)
  }

  return { state, since, opened, newest, lost, start, stop, hear, suspect, retryNow, watchVisibility, onEvent }
})
