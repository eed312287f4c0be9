import { onScopeDispose, shallowRef, type ShallowRef } from 'vue'
import { managerNow } from '@/ui/clock'
import { reduce, type Input } from './model/conversation'
import { frameOf, withFrames, type Frame } from './model/frames'
import type { Conversation } from './model/state'
import type { Effect } from './model/steps'

/** A streaming answer has many frames a second; they are shown together so often. */
const SHOW_MS = 30
const TICK_MS = 5_000

interface Session {
  conversation: Readonly<ShallowRef<Conversation>>
  frames: Readonly<ShallowRef<readonly Frame[]>>
  dispatch: (input: Input) => void
  clearFrames: () => void
}

/**
 * The socket of a conversation. It decides nothing: what happens goes to the machine in `model/conversation`, and what
 * that wants is done. `address` is asked for each time, because it names the session that is resumed.
 */
export function useSession(first: Conversation, address: (sessionId: string | undefined) => string | undefined): Session {
  const conversation = shallowRef(first)
  const frames = shallowRef<readonly Frame[]>([])
  let state = first
  let fresh: Frame[] = []
  let frameIds = 0
  let showing = 0
  let socket: WebSocket | undefined
  let retry = 0
  let listening = 0

  function show() {
    showing = 0
    conversation.value = state
    if (fresh.length > 0) frames.value = withFrames(frames.value, fresh)
    fresh = []
  }

  function dispatch(input: Input) {
    const step = reduce(state, input, managerNow())
    state = step.state
    step.effects.forEach(perform)
    if (input.kind !== 'frame') {
      window.clearTimeout(showing)
      show()
    } else if (showing === 0) {
      showing = window.setTimeout(show, SHOW_MS)
    }
  }

  function record(direction: Frame['direction'], text: string, bytes?: number) {
    frameIds += 1
    fresh.push(frameOf(frameIds, Date.now(), direction, text, bytes))
  }

  function perform(effect: Effect) {
    switch (effect.kind) {
      case 'send':
        if (socket?.readyState !== WebSocket.OPEN) return
        record('out', effect.frame)
        return socket.send(effect.frame)
      case 'connect':
        leave()
        retry = window.setTimeout(open, effect.afterMs)
        return
      case 'close':
        return leave()
      case 'listen':
        window.clearTimeout(listening)
        listening = window.setTimeout(() => dispatch({ kind: 'silence' }), effect.forMs)
    }
  }

  function open() {
    const url = address(state.sessionId)
    if (url === undefined) return
    record('note', url, 0)
    const made = new WebSocket(url)
    made.binaryType = 'arraybuffer'
    made.onopen = () => dispatch({ kind: 'opened' })
    made.onmessage = ({ data }: MessageEvent<string | ArrayBuffer>) => {
      const text = typeof data === 'string' ? data : hex(data)
      record('in', text, typeof data === 'string' ? undefined : data.byteLength)
      dispatch({ kind: 'frame', text })
    }
    made.onclose = ({ code, reason }) => {
      socket = undefined
      record('note', `${code} ${reason}`.trim(), 0)
      dispatch({ kind: 'closed', code, reason, chance: Math.random() })
    }
    socket = made
    dispatch({ kind: 'opening' })
  }

  /** What an old connection still says is not heard. */
  function leave() {
    window.clearTimeout(retry)
    window.clearTimeout(listening)
    if (!socket) return
    socket.onopen = socket.onmessage = socket.onclose = null
    socket.close()
    socket = undefined
  }

  const ticking = window.setInterval(() => dispatch({ kind: 'tick' }), TICK_MS)
  onScopeDispose(() => {
    window.clearInterval(ticking)
    window.clearTimeout(showing)
    leave()
  })

  return { conversation, frames, dispatch, clearFrames: () => (frames.value = []) }
}

/** A binary frame as its bytes. */
function hex(data: ArrayBuffer): string {
  return Array.from(new Uint8Array(data), (byte) => byte.toString(16).padStart(2, '0')).join(' ')
}
