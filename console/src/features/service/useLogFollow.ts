import { onScopeDispose, ref, shallowRef, toValue, watch, type MaybeRefOrGetter } from 'vue'
import { ApiProblem } from '@/api/problem'
import { Backoff, pause } from '@/api/retry'
import type { LogLine } from '@/api/schema.gen'
import { takeSlot } from '@/api/slots'
import { readStream } from '@/api/stream'
import { LineBuffer, type LogEntry } from '@/ui/log/lines'
import { entryOf, followUrl, readLine, Resume, type LogFilter } from './model/follow'

const MOST = 20_000
/** So many of the past are shown at first. */
const AT_FIRST = 2_000
/** Lines of so long are shown at once: an agent may print thousands in a second. */
const TOGETHER_MS = 120
/** A page that nobody sees gives its stream back: a browser has six connections for all tabs of a site. */
const HIDDEN_MS = 30_000

/** Asking again would be refused again. */
const isFinal = ({ status }: ApiProblem) => status >= 400 && status < 500 && status !== 429

export type FollowState = 'connecting' | 'live' | 'waiting' | 'failed'

/** The output of a service as it comes. Another filter begins anew; without one (`undefined`) nothing is followed. */
export function useLogFollow(name: MaybeRefOrGetter<string>, filter: MaybeRefOrGetter<LogFilter | undefined>) {
  const buffer = new LineBuffer(MOST)
  const lines = shallowRef<readonly LogEntry[]>([])
  const waiting = ref(0)
  const dropped = ref(0)
  const paused = ref(false)
  const state = ref<FollowState>('connecting')
  const error = shallowRef<ApiProblem>()
  let resume = new Resume()
  let fresh: LogLine[] = []
  let timer = 0
  let running: AbortController | undefined

  function show() {
    lines.value = buffer.lines
    waiting.value = buffer.waits
    dropped.value = buffer.dropped
    paused.value = buffer.paused
  }

  function flush() {
    timer = 0
    buffer.add(fresh.filter((line) => resume.take(line)).map(entryOf))
    fresh = []
    show()
  }

  function receive(data: string) {
    const line = readLine(data)
    if (line === undefined) return
    fresh.push(line)
    if (timer === 0) timer = window.setTimeout(flush, TOGETHER_MS)
  }

  async function follow(wanted: LogFilter, signal: AbortSignal) {
    const backoff = new Backoff()
    while (!signal.aborted) {
      flush()
      const began = Date.now()
      const giveBack = await takeSlot('logs')
      const again = resume.again()
      const url = again === undefined ? followUrl(toValue(name), wanted, AT_FIRST) : followUrl(toValue(name), { ...wanted, since: again }, MOST)
      try {
        if (giveBack) await readStream(url, {
          signal,
          onOpen: () => (state.value = 'live'),
          onMessage: ({ data }) => receive(data),
        })
      } catch (problem) {
        if (!signal.aborted && problem instanceof ApiProblem && isFinal(problem)) {
          error.value = problem
          state.value = 'failed'
          return
        }
      } finally {
        giveBack?.()
      }
      if (signal.aborted) return
      state.value = 'waiting'
      await pause(backoff.next(Date.now() - began), signal)
    }
  }

  function stop() {
    running?.abort()
    running = undefined
  }

  function start() {
    stop()
    const wanted = toValue(filter)
    if (wanted === undefined) return
    error.value = undefined
    state.value = 'connecting'
    running = new AbortController()
    void follow(wanted, running.signal)
  }

  function startAnew() {
    stop()
    window.clearTimeout(timer)
    timer = 0
    fresh = []
    resume = new Resume()
    buffer.clear()
    show()
    start()
  }

  let hidden = 0
  function watchVisibility() {
    window.clearTimeout(hidden)
    if (document.hidden) hidden = window.setTimeout(stop, HIDDEN_MS)
    else if (running === undefined) start()
  }

  watch(() => JSON.stringify([toValue(name), toValue(filter)]), startAnew, { immediate: true })
  document.addEventListener('visibilitychange', watchVisibility)
  onScopeDispose(() => {
    stop()
    window.clearTimeout(timer)
    window.clearTimeout(hidden)
    document.removeEventListener('visibilitychange', watchVisibility)
  })

  const then = (change: () => void) => () => (change(), show())
  return {
    lines, waiting, dropped, paused, state, error,
    pause: then(() => buffer.pause()),
    resume: then(() => buffer.resume()),
    clear: then(() => buffer.clear()),
    retry: start,
  }
}
