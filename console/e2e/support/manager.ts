import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { until } from './until'

export const repository = path.resolve(import.meta.dirname, '../../..')

/** Ports of one manager's instances; below the range that the kernel gives ports from, and above those of the other tests. */
const PORTS = 100
const FIRST_PORT = 10_000
const RANGES = 220

function program(): string {
  const found = process.env.MYAGENT_MANAGER ?? path.join(process.env.CARGO_TARGET_DIR ?? path.join(repository, 'target'), 'debug/myagent-manager')
  if (!existsSync(found)) throw new Error(`${found} is missing; build it, or name another with MYAGENT_MANAGER`)
  return found
}

/** The real program with a data directory of its own. `close` ends everything that it has started, and nothing else. */
export class Manager {
  private process: ChildProcess | undefined
  private said = ''
  private readonly folder: string
  readonly work: string

  private constructor(
    private readonly range: net.Server,
    private readonly firstPort: number,
  ) {
    this.folder = mkdtempSync(path.join(os.tmpdir(), 'myagent-console-'))
    for (const name of ['data', 'run', 'work']) mkdirSync(path.join(this.folder, name))
    this.work = path.join(this.folder, 'work')
  }

  /** A manager that listens on ports of the kernel's choice. */
  static async start(): Promise<Manager> {
    const [range, port] = await freeRange()
    const manager = new Manager(range, port + 1)
    await manager.up()
    return manager
  }

  private environment(): NodeJS.ProcessEnv {
    const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('MYAGENT_'))
    return {
      ...Object.fromEntries(inherited),
      XDG_RUNTIME_DIR: path.join(this.folder, 'run'),
      MYAGENT_PORT_RANGE: `[${this.firstPort}, ${this.firstPort + PORTS - 2}]`,
    }
  }

  /** Starts it, at the same addresses as before if it was started already. */
  async up(): Promise<void> {
    const [api, proxy] = [this.address('api')?.split(':')[1] ?? '0', this.address('proxy')?.split(':')[1] ?? '0']
    this.said = ''
    const child = spawn(program(), ['--data-dir', path.join(this.folder, 'data'), 'up', '--api-port', api, '--proxy-port', proxy], {
      cwd: this.work,
      env: this.environment(),
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    this.process = child
    child.stderr.setEncoding('utf8').on('data', (text: string) => (this.said += text))
    await until(() => {
      if (child.exitCode !== null) throw new Error(`the manager ended: ${this.said}`)
      return this.address('api') && this.address('proxy')
    }, 'the manager listens')
  }

  private address(name: 'api' | 'proxy'): string | undefined {
    return this.said.match(new RegExp(`${name} listening on \\w+://(\\S+)`))?.[1]
  }

  /** Where the console is. */
  get url(): string {
    return `http://${this.address('api') ?? ''}`
  }

  /** Where clients come in. */
  get proxy(): string {
    return `ws://${this.address('proxy') ?? ''}`
  }

  /** Runs a command that must succeed. */
  cli(...args: string[]): string {
    const result = spawnSync(program(), ['--data-dir', path.join(this.folder, 'data'), ...args], {
      cwd: this.work,
      env: this.environment(),
      encoding: 'utf8',
      timeout: 120_000,
    })
    if (result.status !== 0) throw new Error(`${args.join(' ')} failed: ${result.stdout}${result.stderr}`)
    return result.stdout
  }

  /** Asks the API. */
  async api<T>(method: string, where: string, body?: unknown): Promise<T> {
    const response = await fetch(`${this.url}/api/v1/${where}`, {
      method,
      headers: { 'content-type': 'application/json' },
      body: body === undefined ? undefined : JSON.stringify(body),
    })
    const text = await response.text()
    if (!response.ok) throw new Error(`${method} ${where}: ${response.status} ${text}`)
    return (text === '' ? undefined : JSON.parse(text)) as T
  }

  /** Kills it, as a crash would; runners and conversations go on. */
  async crash(): Promise<void> {
    const child = this.process
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    const ended = new Promise((resolve) => child.once('exit', resolve))
    child.kill('SIGKILL')
    await ended
  }

  async close(): Promise<void> {
    const child = this.process
    if (child && child.exitCode === null && child.signalCode === null) {
      const ended = new Promise((resolve) => child.once('exit', resolve))
      child.kill('SIGTERM')
      const timer = setTimeout(() => child.kill('SIGKILL'), 30_000)
      await ended
      clearTimeout(timer)
    }
    this.killLeftovers()
    this.range.close()
    rmSync(this.folder, { recursive: true, force: true })
  }

  /** Whatever carries the path of our folder in its command line or its environment is ours. */
  private killLeftovers() {
    for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
      try {
        const marks = readFileSync(`/proc/${pid}/cmdline`, 'latin1') + readFileSync(`/proc/${pid}/environ`, 'latin1')
        if (marks.includes(this.folder) && Number(pid) !== process.pid) process.kill(Number(pid), 'SIGKILL')
      } catch {
        // It has ended, or is not ours to read.
      }
    }
  }
}

/** A range that nobody has: who has its first port has the others. */
async function freeRange(): Promise<[net.Server, number]> {
  for (let n = 0; n < RANGES; n += 1) {
    const port = FIRST_PORT + ((process.pid + n) % RANGES) * PORTS
    const server = net.createServer()
    const free = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false)).listen(port, '127.0.0.1', () => resolve(true))
    })
    if (free) return [server.unref(), port]
  }
  throw new Error('no range of ports is free')
}
