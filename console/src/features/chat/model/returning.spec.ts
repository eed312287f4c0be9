import { describe, expect, it } from 'vitest'
import { asked, close, created, Driven, greeting, live, say, SESSION } from './driven'
import { emptyConversation } from './state'

describe('coming back', () => {
  const restored = (more: Record<string, unknown>) => ({ event: 'agent.state_restored', session_id: SESSION, metadata: { last_seq: 4, waiting: 0, running: false, ...more } })
  const replayed = { event: 'system.notice', session_id: SESSION, content: 'replay', metadata: { code: 'replay', replayed: 2 } }

  it('waits, twice as long each time, and never less than was asked for', () => {
    const driven = live().on(close(1006))
    expect(driven.state).toMatchObject({ phase: 'waiting', retryAt: 1_100, tries: 1 })
    driven.on({ kind: 'opening' })
    expect(driven.state.phase).toBe('connecting')
    expect(driven.on(close(1006)).effects).toEqual([{ kind: 'connect', afterMs: 200 }])
    driven.hear({ event: 'system.error', content: 'full', metadata: { code: 'ROUTING_FAILED', recoverable: true, retry_after_ms: 3_000 } })
    expect(driven.on(close(1013)).effects).toEqual([])
    driven.on({ kind: 'opening' }, close(1013))
    expect(driven.effects).toEqual([{ kind: 'connect', afterMs: 3_000 }])
  })

  it('forgets earlier tries after a connection that lasted', () => {
    const driven = live().on(close(1006), { kind: 'opened' }).hear(greeting, restored({}))
    driven.now += 11_000
    expect(driven.on(close(1001)).effects).toEqual([{ kind: 'connect', afterMs: 100 }])
  })

  it('doubles nothing, and goes on with the answer', () => {
    const driven = asked().event('agent.partial_answer', 2, { content: 'a' }).on(close(1006), { kind: 'opened' }).hear(greeting)
    expect(driven.sent).toEqual([{ event: 'user.reconnect', session_id: SESSION, last_seq: 2 }])
    driven.hear(restored({ replaying: true })).event('agent.partial_answer', 2, { content: 'a' }).event('agent.partial_answer', 3, { content: 'b' })
    driven.event('agent.final_answer', 4, { content: 'ab' }).hear(replayed)
    expect(driven.answers).toMatchObject([{ state: 'done', parts: [{ text: 'ab' }] }])
    expect(driven.of('user').map(({ state }) => state)).toEqual(['sent'])
  })

  it('tells of messages that did not arrive, and says them again when asked to', () => {
    const driven = asked('one').on(say('two'), close(1006), { kind: 'opened' }).hear(greeting, restored({ last_seq: 1, running: true }))
    expect(driven.of('user').map(({ state }) => state)).toEqual(['sent', 'lost'])
    const lost = driven.of('user')[1]
    driven.on({ kind: 'sayAgain', id: lost?.id ?? 0 })
    expect(driven.sent.map(({ content }) => content)).toEqual(['two'])
    expect(driven.of('user').map(({ state }) => state)).toEqual(['sent', 'sent'])
  })

  it('adopts answers that were asked for elsewhere', () => {
    const driven = new Driven(emptyConversation(SESSION)).on({ kind: 'connect' }, { kind: 'opened' }).hear(greeting, restored({ replaying: true, running: true, waiting: 1 }))
    driven.hear(created).event('agent.partial_answer', 2, { content: 'a' }).hear(replayed)
    expect(driven.state.open).toEqual([0, 0])
    driven.event('agent.final_answer', 3, { content: 'a' })
    expect(driven.state.open).toEqual([0])
    expect(driven.answers).toMatchObject([{ state: 'done' }])
  })

  it('believes in no queue without end', () => {
    const driven = new Driven(emptyConversation(SESSION)).on({ kind: 'connect' }, { kind: 'opened' }).hear(greeting, restored({ waiting: 1e12 }))
    expect(driven.state).toMatchObject({ phase: 'live', open: { length: 1_000 } })
  })

  it('tells a gap, and goes on after it', () => {
    const driven = asked().on(close(1006), { kind: 'opened' }).hear(greeting, restored({ replaying: true, last_seq: 9 }))
    driven.hear({ event: 'system.notice', session_id: SESSION, metadata: { code: 'replay_gap', from_seq: 2, to_seq: 8 } })
    driven.event('agent.final_answer', 9, { content: 'whole' }).hear(replayed)
    expect(driven.of('note').map(({ code, values }) => [code, values?.from, values?.to])).toEqual([['replayGap', 2, 8]])
    expect(driven.parts).toEqual([{ kind: 'text', text: 'whole' }])
  })

  it('uses numbers again that the server has lost', () => {
    const driven = asked().event('agent.partial_answer', 5, { content: 'x' }).on(close(1006), { kind: 'opened' })
    driven.hear(greeting, restored({ last_seq: 1, running: true })).event('agent.final_answer', 2, { content: 'y' })
    expect(driven.parts).toEqual([{ kind: 'text', text: 'y' }])
  })

  it.each([
    ['error.recovery_failed', 'SESSION_NOT_FOUND'],
    ['agent.error', 'SESSION_NOT_FOUND'],
    ['error.recovery_failed', 'SESSION_LOST'],
    ['system.error', 'UNKNOWN_EVENT'],
  ])('ends with %s %s', (event, code) => {
    const driven = live().on(close(1006), { kind: 'opened' }).hear(greeting, { event, content: 'gone', metadata: { code } })
    expect(driven.state).toMatchObject({ phase: 'ended', ended: { code } })
  })

  it('tries again later where the session is only not to be had now', () => {
    const driven = live().on(close(1006), { kind: 'opened' })
    driven.hear(greeting, { event: 'error.recovery_failed', content: 'ending', metadata: { code: 'SESSION_UNAVAILABLE', retry_after_ms: 1_500 } })
    expect(driven.state.phase).toBe('waiting')
    expect(driven.effects).toEqual([{ kind: 'connect', afterMs: 1_500 }])
  })

  it('does not fight for a session that was taken, but takes it back when told to', () => {
    const driven = live().hear({ event: 'system.notice', session_id: SESSION, metadata: { code: 'session_moved' } })
    expect(driven.state.phase).toBe('moved')
    expect(driven.on(close(1006)).effects).toEqual([])
    expect(driven.on({ kind: 'takeBack' }).effects).toEqual([{ kind: 'connect', afterMs: 0 }])
    expect(driven.state.sessionId).toBe(SESSION)
  })

  it.each([1000, 1005, 1008, 4001])('stays closed after %i', (code) => {
    expect(live().on(close(code)).state).toMatchObject({ phase: 'closed', close: { code, reason: 'why' } })
  })

  it('stays closed where the front door says that it will not help', () => {
    const driven = new Driven().on({ kind: 'connect' }, { kind: 'opened' })
    driven.hear({ event: 'system.error', content: 'stopped', metadata: { code: 'ROUTING_FAILED', recoverable: false } }).on(close(1013))
    expect(driven.state).toMatchObject({ phase: 'closed', refusal: { text: 'stopped' } })
  })
})

describe('a server that is silent', () => {
  it('is asked, and left if it does not answer', () => {
    const driven = live().hear({ event: 'system.heartbeat' })
    driven.now += 36_000
    expect(driven.on({ kind: 'tick' }).sent).toEqual([{ type: 'ping' }])
    expect(driven.on({ kind: 'tick' }).effects).toEqual([])
    driven.now += 10_000
    expect(driven.on({ kind: 'tick' }).state.phase).toBe('waiting')
  })

  it('is believed when it answers', () => {
    const driven = live().hear({ event: 'system.heartbeat' })
    driven.now += 36_000
    driven.on({ kind: 'tick' }).hear({ type: 'pong' })
    driven.now += 10_000
    expect(driven.on({ kind: 'tick' }).state.phase).toBe('live')
  })

  it('is not asked if it has no heartbeat', () => {
    const driven = live()
    driven.now += 100_000
    expect(driven.on({ kind: 'tick' }).effects).toEqual([])
  })
})
