/** The client against a server that plays a script: one for each connection, in order. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { WebSocket as PackageSocket, WebSocketServer } from 'ws'
import { ConnectFailed, MessageUnknown, SessionLost, connect } from '../src/index.js'
import type { AgentEvent, Options, Session, SocketConstructor } from '../src/index.js'
import { Connection, create, createAnd, event, final, lose, notice, playing, replayed, restored } from './server.js'
import type { Metadata, Script } from './server.js'

async function collect(events: AsyncIterable<AgentEvent>): Promise<AgentEvent[]> {
  const all = []
  for await (const event of events) all.push(event)
  return all
}
async function first(events: AsyncIterable<AgentEvent>): Promise<AgentEvent> {
  for await (const event of events) return event
  assert.fail('no event')
}
const numbers = (events: AgentEvent[]) => events.flatMap((event) => event.seq ?? [])
const told = (events: AgentEvent[]) => events.map((event) => event.seq ?? event.metadata?.['code'])

const sockets: [string, SocketConstructor][] = [['package', PackageSocket]]
if (globalThis.WebSocket) sockets.push(['global', globalThis.WebSocket])

for (const [kind, WebSocket] of sockets) {
  const check = (name: string, story: () => Promise<void>) => test(`${kind} socket: ${name}`, { timeout: 60_000 }, story)
  const start = (url: string, options: Options = {}) => {
    return connect(url, { WebSocket, firstDelayMs: 10, maxDelayMs: 50, ...options })
  }
  /** With a session that is closed at the end. */
  const talking = async (url: string, options: Options, story: (session: Session) => Promise<void>) => {
    const session = await start(url, options)
    try {
      await story(session)
    } finally {
      session.close()
    }
  }
  const lost = (code: string) => (error: unknown) => error instanceof SessionLost && error.code === code
  const failed = (code: string) => (error: unknown) => error instanceof ConnectFailed && error.code === code

  check('an answer over three connections', async () => {
    const statuses: string[] = []
    const scripts: Script[] = [
      createAnd(async (client) => {
        assert.equal((await client.hear('user.message')).content, 'hello')
        client.say(event(2), event(3))
        // A cut here would take with it what was said.
        client.socket.close()
      }),
      async (client) => {
        assert.equal(client.path, '/s/test?session_id=s')
        assert.deepEqual(await client.hear('user.reconnect'), { event: 'user.reconnect', session_id: 's', last_seq: 3 })
        client.say(restored(6, { running: true, waiting: 0 }), event(3), event(4))
        client.socket.close()
      },
      async (client) => {
        assert.equal((await client.hear('user.reconnect'))['last_seq'], 4)
        client.say(restored(6, { running: true, waiting: 0 }), event(5), event(6), replayed, event(7), final(8))
      },
    ]
    await playing(scripts, (url) =>
      talking(url, { onStatus: (status) => statuses.push(status) }, async (session) => {
        assert.deepEqual([session.id, session.agentName], ['s', 'test'])
        assert.deepEqual(numbers(await collect(session.ask('hello'))), [2, 3, 4, 5, 6, 7, 8])
        assert.deepEqual(session.state, { session_id: 's', last_seq: 8 })
      }),
    )
    assert.deepEqual(statuses, ['connected', 'reconnecting', 'reconnecting', 'connected', 'closed'])
  })

  check('a gap is fetched, and one that stays is told', async () => {
    const again: Script = async (client) => {
      assert.equal((await client.hear('user.reconnect'))['last_seq'], 2)
      client.say(restored(5, { running: false }), event(4), final(5), replayed)
    }
    const begin = createAnd(async (client) => {
      await client.hear('user.message')
      client.say(event(2), event(4), final(5))
    })
    await playing([begin, again, again], (url) =>
      talking(url, {}, async (session) => {
        const events = await collect(session.ask('hello'))
        assert.deepEqual(told(events), [2, 'replay_gap', 4, 5])
        assert.deepEqual(events[1]?.metadata, { code: 'replay_gap', from_seq: 3, to_seq: 3 })
      }),
    )
  })

  check('what is no longer kept, and what was lost', async () => {
    const scripts: Script[] = [
      createAnd(async (client) => {
        await client.hear('user.message')
        client.say(event(2))
        client.socket.close()
      }),
      async (client) => {
        await client.hear('user.reconnect')
        const gap = notice('replay_gap', { from_seq: 3, to_seq: 9 })
        client.say(restored(10, { running: true }), gap, event(10), replayed, event(11))
        client.socket.close()
      },
      async (client) => {
        assert.equal((await client.hear('user.reconnect'))['last_seq'], 11)
        client.say(restored(10, { running: true }), replayed, final(11))
      },
    ]
    await playing(scripts, (url) =>
      talking(url, {}, async (session) => {
        assert.deepEqual(told(await collect(session.ask('hello'))), [2, 'replay_gap', 10, 11, 'rewound', 11])
      }),
    )
  })

  check('the end of a session is told at once', async () => {
    const notYet: Script = async (client) => {
      await client.hear('user.reconnect')
      const metadata = { code: 'NOT_READY', recoverable: true, retry_after_ms: 1 }
      client.say({ event: 'error.recovery_failed', content: 'not yet', metadata })
    }
    const notNow: Script = async (client) => {
      await client.hear('user.reconnect')
      const metadata = { code: 'SESSION_UNAVAILABLE', recoverable: true, retry_after_ms: 1 }
      const error = { event: 'agent.error', content: 'not now', metadata }
      client.say(restored(1, { running: true, waiting: 0 }), replayed, error)
    }
    const never: Script = async (client) => {
      await client.hear('user.reconnect')
      const metadata = { code: 'SESSION_NOT_FOUND', recoverable: true }
      client.say({ event: 'error.recovery_failed', content: 'no such session', metadata })
    }
    await playing([createAnd(lose), notYet, notNow, never], (url) =>
      talking(url, {}, async (session) => {
        await assert.rejects(collect(session.ask('hello')), (error: unknown) => {
          assert.deepEqual((error as SessionLost).state, { session_id: 's', last_seq: 1 })
          return lost('SESSION_NOT_FOUND')(error)
        })
        await assert.rejects(session.post('again'), lost('SESSION_NOT_FOUND'))
      }),
    )
    await playing([never], async (url) => {
      await assert.rejects(start(url, { state: { session_id: 's', last_seq: 4 } }), lost('SESSION_NOT_FOUND'))
    })
  })

  check('a session that moved is not fought for', async () => {
    const begin = createAnd(async (client) => {
      await client.hear('user.message')
      client.say(event(2), notice('session_moved'))
    })
    await playing([begin], (url) =>
      talking(url, {}, async (session) => {
        const seen: AgentEvent[] = []
        const reading = async () => {
          for await (const event of session.ask('hello')) seen.push(event)
        }
        await assert.rejects(reading, lost('SESSION_MOVED'))
        assert.deepEqual(told(seen), [2, 'session_moved'])
      }),
    )
  })

  check('a message that nobody answered', async () => {
    const resumed = (metadata: Metadata): Script => async (client) => {
      await client.hear('user.reconnect')
      client.say(restored(1, metadata), replayed)
      await lose(client)
    }
    const answered: Script = async (client) => {
      await client.hear('user.reconnect')
      client.say(restored(3, { running: false, waiting: 0 }), event(2), final(3), replayed)
    }
    await playing([createAnd(lose), resumed({}), resumed({ running: false, waiting: 0 }), answered], (url) =>
      talking(url, {}, async (session) => {
        for (const received of [undefined, false]) {
          await assert.rejects(collect(session.ask('hello')), (error: unknown) => {
            return error instanceof MessageUnknown && error.received === received && error.content === 'hello'
          })
        }
        assert.deepEqual(numbers(await collect(session.ask('hello'))), [2, 3])
      }),
    )
  })

  check('messages are sent again if asked for, and not for ever', async () => {
    const again: Script = async (client) => {
      await client.hear('user.reconnect')
      client.say(restored(1, { running: false, waiting: 0 }), replayed)
      await lose(client)
    }
    const answer: Script = async (client) => {
      await client.hear('user.reconnect')
      client.say(restored(1, { running: false, waiting: 0 }), replayed)
      await client.hear('user.message')
      client.say(final(2))
    }
    await playing([createAnd(lose), again, answer], (url) =>
      talking(url, { resend: 'unreceived' }, async (session) => {
        assert.deepEqual(numbers(await collect(session.ask('hello'))), [2])
      }),
    )
    const silent: Script = async (client) => {
      await client.hear('user.reconnect')
      client.say(restored(1), replayed)
    }
    await playing([createAnd(lose), again, again, silent], (url) =>
      talking(url, { resend: 'always' }, async (session) => {
        await session.post('breaks each connection')
        assert.equal((await first(session.events())).event, 'client.message_unknown')
      }),
    )
  })

  check('being turned away', async () => {
    const refused = (recoverable: boolean): Script => async (client) => {
      const metadata = { code: 'ROUTING_FAILED', recoverable, retry_after_ms: 40 }
      client.say({ event: 'system.error', content: 'nobody there', metadata })
      client.socket.close(1013)
    }
    await playing([refused(true), create], async (url) => {
      const started = performance.now()
      await talking(url, {}, async () => undefined)
      // Timers may fire a millisecond early.
      assert.ok(performance.now() >= started + 38)
    })
    await playing([refused(false)], async (url) => {
      await assert.rejects(start(url), failed('ROUTING_FAILED'))
    })
    const cut = createAnd(async (client) => client.socket.close())
    await playing([cut, refused(false), refused(false), refused(false)], (url) =>
      talking(url, {}, async (session) => {
        await assert.rejects(collect(session.events()), lost('ROUTING_FAILED'))
      }),
    )
  })

  check('nobody there', async () => {
    const server = new WebSocketServer({ host: '127.0.0.1', port: 0 })
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    server.close()
    await once(server, 'close')
    await assert.rejects(start(`ws://127.0.0.1:${port}/`, { connectTimeoutMs: 100 }), failed('UNREACHABLE'))
    await assert.rejects(start('no url'), failed('INVALID_URL'))
  })

  check('acknowledgements', async () => {
    const script = createAnd(async (client) => {
      await client.hear('user.message')
      client.say(...Array.from({ length: 10 }, (_, index) => event(index + 2)), final(12))
      const ack = await client.hear('user.ack')
      assert.equal(ack.session_id, 's')
      assert.ok((ack.content as { last_seq: number }).last_seq >= 11)
      client.say(notice('seen'))
    })
    const all: Options[] = [{ ackEvents: 10, ackMs: 60_000 }, { ackEvents: 1000, ackMs: 100 }]
    for (const options of all) {
      await playing([script], (url) =>
        talking(url, options, async (session) => {
          await collect(session.ask('hello'))
          assert.deepEqual(told([await first(session.events())]), ['seen'])
        }),
      )
    }
  })

  check('a silent server is left', async () => {
    const silent = createAnd(async (client) => {
      for (let round = 0; round < 2; round += 1) {
        await client.hear('ping')
        client.say({ type: 'pong' })
      }
      await client.hear('ping')
    })
    const back: Script = async (client) => {
      await client.hear('user.reconnect')
      client.say(restored(1), replayed, notice('back'))
    }
    await playing([silent, back], (url) =>
      talking(url, { silenceMs: 100, pongMs: 300 }, async (session) => {
        assert.deepEqual(told([await first(session.events())]), ['back'])
      }),
    )
  })

  check('cancel and respond are sent again', async () => {
    const scripts: Script[] = [
      createAnd(async (client) => {
        await client.hear('user.message')
        client.say({ ...event(2, 'agent.user_confirm'), step_id: 'one' })
        await client.hear('user.response')
        client.cut()
      }),
      async (client) => {
        await client.hear('user.reconnect')
        client.say(restored(2, { running: true, open_steps: ['one'] }), replayed)
        const response = await client.hear('user.response')
        assert.deepEqual([response.step_id, response.content], ['one', 'yes'])
        client.say(event(3))
        await client.hear('user.cancel')
        client.cut()
      },
      async (client) => {
        await client.hear('user.reconnect')
        client.say(restored(3, { running: true, open_steps: [] }), replayed)
        await client.hear('user.cancel')
        client.say(event(4, 'agent.interrupted', { reason: 'user_cancel' }))
      },
    ]
    await playing(scripts, (url) =>
      talking(url, {}, async (session) => {
        const names = []
        for await (const event of session.ask('hello')) {
          names.push(event.event)
          if (event.seq === 2) await session.respond('one', 'yes')
          if (event.seq === 3) await session.cancel()
        }
        assert.equal(names.at(-1), 'agent.interrupted')
        assert.equal(session.answering, false)
      }),
    )
  })

  check('a slow application gets everything', async () => {
    const all = Array.from({ length: 198 }, (_, index) => event(index + 2)).concat(final(200))
    const from = (last: number) => restored(200, { running: true, waiting: 0, from: last })
    const begin = createAnd(async (client) => {
      await client.hear('user.message')
      client.say(...all)
    })
    const resume: Script = async (client) => {
      const last = Number((await client.hear('user.reconnect'))['last_seq'])
      client.say(from(last), ...all.filter(({ seq }) => seq > last), replayed)
    }
    // 10 events wait at most, and it comes back when 5 do: 5 events a connection, or a few more.
    let connections = 0
    const server = new WebSocketServer({ host: '127.0.0.1', port: 0 })
    await once(server, 'listening')
    server.on('connection', (socket: PackageSocket, request: IncomingMessage) => {
      const script = (connections += 1) === 1 ? begin : resume
      script(new Connection(socket, request.url ?? '')).catch(() => undefined)
    })
    const url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}/`
    try {
      await talking(url, { queue: 10, firstDelayMs: 1, maxDelayMs: 1 }, async (session) => {
        const seen = []
        for await (const event of session.ask('hello')) {
          seen.push(event.seq)
          await new Promise((resolve) => setImmediate(resolve))
          assert.ok((session as unknown as { items: unknown[] }).items.length <= 10)
        }
        assert.deepEqual(seen, all.map(({ seq }) => seq))
      })
    } finally {
      for (const socket of server.clients) socket.terminate()
      server.close()
    }
    assert.ok(connections > 1)
  })

  check('a session that was left in the middle of an answer', async () => {
    const running: Script = async (client) => {
      assert.equal((await client.hear('user.reconnect'))['last_seq'], 4)
      client.say(restored(6, { running: true }), event(5), event(6), replayed, event(7), final(8))
      await client.hear('user.message')
      client.say(final(9))
    }
    const over: Script = async (client) => {
      await client.hear('user.reconnect')
      client.say(restored(5, { running: false }), final(5), replayed)
    }
    const state = { session_id: 's', last_seq: 4 }
    await playing([running], (url) =>
      talking(url, { state }, async (session) => {
        assert.deepEqual(numbers(await collect(session.rest())), [5, 6, 7, 8])
        assert.deepEqual(await collect(session.rest()), [])
        assert.deepEqual(numbers(await collect(session.ask('more'))), [9])
      }),
    )
    await playing([over], (url) =>
      talking(url, { state }, async (session) => {
        assert.deepEqual(numbers(await collect(session.rest())), [5])
      }),
    )
  })

  check('an answer that was left is passed over', async () => {
    const script = createAnd(async (client) => {
      await client.hear('user.message')
      client.say(event(2), event(3))
      await client.hear('user.message')
      client.say(final(4), event(5), final(6))
    })
    await playing([script], (url) =>
      talking(url, {}, async (session) => {
        await first(session.ask('first'))
        assert.deepEqual(numbers(await collect(session.ask('second'))), [5, 6])
      }),
    )
  })

  check('the end', async () => {
    const ends = createAnd(async (client) => {
      await client.hear('user.message')
      client.say(event(2, 'agent.session_end'))
    })
    await playing([ends], (url) =>
      talking(url, {}, async (session) => {
        await assert.rejects(collect(session.ask('hello')), lost('SESSION_ENDED'))
      }),
    )
    await playing([create], async (url) => {
      const session = await start(url)
      const everything = collect(session.events())
      await new Promise((resolve) => setImmediate(resolve))
      session.close()
      assert.deepEqual(await everything, [])
      await assert.rejects(session.post('too late'), lost('CLOSED'))
    })
    const refuse: Script = async (client) => {
      await client.hear('user.create_session')
      client.say({ event: 'agent.error', content: 'no', metadata: { code: 'SESSION_FAILED' } })
    }
    await playing([refuse], async (url) => {
      await assert.rejects(start(url), failed('SESSION_FAILED'))
    })
  })
}
