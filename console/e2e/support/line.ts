import net from 'node:net'

/** The network between a browser and the manager, which can be cut. */
export class Line {
  private readonly sockets = new Set<net.Socket>()
  private state: 'open' | 'refusing' | 'silent' = 'open'

  private constructor(
    private readonly server: net.Server,
    readonly url: string,
  ) {}

  static async to(target: string): Promise<Line> {
    const { hostname, port } = new URL(target)
    const server = net.createServer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const line = new Line(server, `http://127.0.0.1:${(server.address() as net.AddressInfo).port}`)
    server.on('connection', (client) => line.carry(client, () => net.connect(Number(port), hostname)))
    return line
  }

  private carry(client: net.Socket, connect: () => net.Socket) {
    if (this.state === 'refusing') {
      client.destroy()
      return
    }
    const manager = connect()
    for (const [from, to] of [
      [client, manager],
      [manager, client],
    ] as const) {
      this.sockets.add(from)
      from.on('data', (bytes) => {
        if (this.state !== 'silent') to.write(bytes)
      })
      from.on('error', () => to.destroy())
      from.on('close', () => {
        this.sockets.delete(from)
        to.destroy()
      })
    }
  }

  /** Ends all connections and refuses new ones; or lets all of them stand, and nothing through. */
  cut(how: 'refusing' | 'silent') {
    this.state = how
    if (how === 'refusing') this.sockets.forEach((socket) => socket.destroy())
  }

  /** What was silent stays lost: bytes are missing in it. */
  mend() {
    const silent = this.state === 'silent'
    this.state = 'open'
    if (silent) this.sockets.forEach((socket) => socket.destroy())
  }

  close() {
    this.sockets.forEach((socket) => socket.destroy())
    this.server.close()
  }
}
