import WebSocket from 'ws'

/** Clients that are no browser: they come through the front door and stay. */
export class Clients {
  private readonly sockets: WebSocket[] = []

  /** So many clients at `url`, all connected. */
  async connect(url: string, many: number, headers: Record<string, string> = {}): Promise<void> {
    const AT_ONCE = 100
    for (let done = 0; done < many; done += AT_ONCE) {
      const batch = Array.from({ length: Math.min(AT_ONCE, many - done) }, () => this.one(url, headers))
      await Promise.all(batch)
    }
  }

  private one(url: string, headers: Record<string, string>): Promise<void> {
    return new Promise((resolve, reject) => {
      const socket = new WebSocket(url, { headers, perMessageDeflate: false })
      this.sockets.push(socket)
      socket.once('open', () => resolve())
      socket.once('error', reject)
      // Read, or the agent would wait for us.
      socket.on('message', () => undefined)
    })
  }

  /** Has each of the newest `many` begin a session and ask something. */
  async ask(question: string, many: number): Promise<void> {
    await Promise.all(this.sockets.slice(-many).map((socket) => conversation(socket, question)))
  }

  close() {
    this.sockets.forEach((socket) => {
      socket.removeAllListeners('error').on('error', () => undefined)
      socket.terminate()
    })
    this.sockets.length = 0
  }
}

interface Frame {
  event: string
  session_id?: string
}

function conversation(socket: WebSocket, question: string): Promise<void> {
  return new Promise((resolve) => {
    const hear = (data: WebSocket.RawData) => {
      // A text frame of one JSON object: see the protocol.
      const frame = JSON.parse((data as Buffer).toString()) as Frame
      if (frame.event === 'agent.session_created') {
        socket.send(JSON.stringify({ event: 'user.message', session_id: frame.session_id, content: question }))
      }
      if (frame.event === 'agent.final_answer') {
        socket.off('message', hear)
        resolve()
      }
    }
    socket.on('message', hear)
    socket.send(JSON.stringify({ event: 'user.create_session' }))
  })
}
