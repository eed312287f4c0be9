/** What can go wrong: all that the application must be told. */

/** The base of them all. */
export class ClientError extends Error {
  constructor(
    readonly code: string,
    text: string,
  ) {
    super(`${code}: ${text}`)
    this.name = new.target.name
  }
}

/** There is no session: nobody answered in time, or the service or the agent refused. */
export class ConnectFailed extends ClientError {}

/**
 * The session goes on nowhere, or not here. `code` says why: SESSION_NOT_FOUND (it has ended), SESSION_MOVED (another client
 * took it), SESSION_ENDED (the agent ended it), UNREACHABLE (nobody answered for `giveUpAfterMs`), CLOSED (by `close`), or
 * what the server said. `state` may serve to try again after UNREACHABLE.
 */
export class SessionLost extends ClientError {
  constructor(
    code: string,
    text: string,
    readonly state: { session_id: string; last_seq: number },
  ) {
    super(code, text)
  }
}

/**
 * The connection broke after a message was sent. `received` is false: it did not arrive, say it again; undefined: nobody
 * knows, and saying it again may say it twice. The session goes on.
 */
export class MessageUnknown extends ClientError {
  constructor(
    readonly content: unknown,
    readonly received: false | undefined,
  ) {
    const known = received === false ? 'did not arrive' : 'may not have arrived'
    super('MESSAGE_UNKNOWN', `the connection broke, and the message ${known}`)
  }
}
