/** A client of the event protocol of agents. What it promises is in the README beside this folder. */

export { ClientError, ConnectFailed, MessageUnknown, SessionLost } from './errors.js'
export type { Options, SessionState, SocketConstructor, SocketLike } from './options.js'
export type { AgentEvent, Message } from './protocol.js'
export { connect, Session } from './session.js'
