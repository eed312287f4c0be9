/** What an application chooses: the session to come back to, the socket, and every delay and bound. */

/** All that is needed to come back, in this program or another. */
export interface SessionState {
  session_id: string
  last_seq: number
}

/** As much of a WebSocket as is needed: that of browsers, that of Node 22, that of the package `ws`. */
export interface SocketLike {
  onopen: ((event: any) => void) | null
  onmessage: ((event: any) => void) | null
  onclose: ((event: any) => void) | null
  onerror: ((event: any) => void) | null
  send(data: string): void
  close(code?: number, reason?: string): void
  /** Closes without waiting for the other side; browsers have no such thing. */
  terminate?: () => void
}

export type SocketConstructor = new (url: string) => SocketLike

export interface Options {
  /** What `user.create_session` has for the agent. */
  params?: unknown
  /** The session that was left; without it a new one begins. */
  state?: SessionState
  /** Where there is no global one: Node before 22 (`import { WebSocket } from 'ws'`). */
  WebSocket?: SocketConstructor
  /** For `connect` as a whole, and for each later try. */
  connectTimeoutMs?: number
  /** Without a connection; a server keeps sessions half an hour unless told otherwise. */
  giveUpAfterMs?: number
  /** Then the server is asked whether it is there; its heartbeat comes each 30 s. */
  silenceMs?: number
  /** It has so long to answer. */
  pongMs?: number
  firstDelayMs?: number
  maxDelayMs?: number
  ackEvents?: number
  ackMs?: number
  /** Events that wait for the application; beyond that the connection is left until it has caught up. */
  queue?: number
  /** `unreceived`: messages that did not arrive are sent again; `always`: also those of which nobody knows. */
  resend?: 'never' | 'unreceived' | 'always'
  onStatus?: (status: 'connected' | 'reconnecting' | 'closed', why: string) => void
}

/** What counts where an application says nothing. */
export const DEFAULTS = {
  connectTimeoutMs: 30_000,
  giveUpAfterMs: 1_800_000,
  silenceMs: 35_000,
  pongMs: 10_000,
  firstDelayMs: 100,
  maxDelayMs: 10_000,
  ackEvents: 100,
  ackMs: 1000,
  queue: 1000,
  resend: 'never' as 'never' | 'unreceived' | 'always',
}
