import { describe, expect, it } from 'vitest'
import { MOST_WAITING, maySay, waitingOf } from './conversation'
import { asked, close, connected, created, Driven, greeting, live, say, SESSION } from './driven'
import { emptyConversation } from './state'

it('an answer shows its newest steps, however many there were', () => {
  const machine = asked()
  for (let seq = 2; seq < 1_002; seq += 1) machine.event('agent.thinking', seq, { content: `thought ${seq}` })
  expect(machine.parts).toHaveLength(500)
  expect(machine.parts.at(-1)).toMatchObject({ text: 'thought 1001' })
  expect(machine.event('agent.final_answer', 1_002, { content: 'whole' }).answers).toHaveLength(1)
  expect(machine.parts.at(-1)).toEqual({ kind: 'text', text: 'whole' })
})

it('an answer without end shows its newest words', () => {
  const machine = asked()
  for (let seq = 2; seq < 32; seq += 1) machine.event('agent.partial_answer', seq, { content: `${seq} `.repeat(50_000) })
  const [part] = machine.parts
  expect(machine.parts).toHaveLength(1)
  expect(part?.kind === 'text' && part.text.length).toBeLessThanOrEqual(2_000_000)
  expect(part).toMatchObject({ text: expect.stringMatching(/^….* 31 $/s) as string })
})

it('notices with the names of things that all objects have are notices', () => {
  for (const code of ['constructor', '__proto__', 'toString']) {
    expect(live().hear({ event: 'system.notice', content: 'x', metadata: { code } }).of('note').at(-1), code).toMatchObject({ code: 'notice', text: 'x' })
  }
})

describe('beginning', () => {
  it('connects, waits for the greeting, and asks for a session', () => {
    const driven = new Driven().on({ kind: 'connect' })
    expect(driven.effects).toEqual([{ kind: 'connect', afterMs: 0 }])
    driven.on({ kind: 'opened' })
    expect(driven.state.phase).toBe('greeting')
    expect(driven.effects).toEqual([{ kind: 'listen', forMs: 2_000 }])
    driven.hear(greeting)
    expect(driven.sent).toEqual([{ event: 'user.create_session' }])
    driven.hear(created)
    expect(driven.state).toMatchObject({ phase: 'live', sessionId: SESSION, agentName: 'echo', connectionId: 'c1', sequence: { last: 1 } })
  })

  it('resumes the session it knows, after the last event it had', () => {
    const driven = new Driven({ ...emptyConversation(SESSION), sequence: { last: 7, missing: [] } })
    driven.on({ kind: 'connect' }, { kind: 'opened' }).hear(greeting)
    expect(driven.sent).toEqual([{ event: 'user.reconnect', session_id: SESSION, last_seq: 7 }])
  })

  it('sends what was said before there was a session, in order', () => {
    const driven = new Driven().on({ kind: 'connect' }, say('one'), say('two'))
    expect(driven.of('user').map(({ state }) => state)).toEqual(['unsent', 'unsent'])
    driven.on({ kind: 'opened' }).hear(greeting, created)
    expect(driven.sent.map(({ content }) => content)).toEqual(['one', 'two'])
    expect(driven.of('user').map(({ state }) => state)).toEqual(['sent', 'sent'])
  })

  it('ends where the agent makes no session', () => {
    const driven = connected().hear({ event: 'agent.error', content: 'no key', metadata: { code: 'SESSION_FAILED' } })
    expect(driven.state).toMatchObject({ phase: 'ended', ended: { code: 'SESSION_FAILED', text: 'no key' } })
    expect(driven.effects).toEqual([{ kind: 'close' }])
  })
})

describe('a turn', () => {
  it('streams pieces, and the whole answer ends it', () => {
    const driven = asked()
    expect(driven.sent).toEqual([{ event: 'user.message', session_id: SESSION, content: 'hello' }])
    driven.event('agent.partial_answer', 2, { content: 'echo' }).event('agent.partial_answer', 3, { content: ': hello' })
    expect(driven.parts).toEqual([{ kind: 'text', text: 'echo: hello' }])
    expect(driven.answers[0]?.state).toBe('running')
    driven.event('agent.final_answer', 4, { content: 'echo: hello' })
    expect(driven.answers[0]).toMatchObject({ state: 'done', parts: [{ kind: 'text', text: 'echo: hello' }], endedAt: 1_000 })
    expect(driven.state.open).toEqual([])
  })

  it('is waited for since its message, or the end of the answer before', () => {
    const driven = asked('one').on(say('two'))
    driven.now = 1_400
    driven.event('agent.final_answer', 2, { content: '1' })
    driven.now = 1_900
    driven.event('agent.final_answer', 3, { content: '2' })
    expect(driven.answers.map(({ since, endedAt }) => [since, endedAt])).toEqual([[1_000, 1_400], [1_400, 1_900]])
  })

  it('takes the whole answer where the pieces do not make it up', () => {
    const driven = asked().event('agent.partial_answer', 2, { content: 'e' }).event('agent.final_answer', 3, { content: 'echo' })
    expect(driven.parts).toEqual([{ kind: 'text', text: 'echo' }])
  })

  it('keeps pieces among the steps that they stand between', () => {
    const driven = asked()
      .event('agent.thinking', 2, { content: 'hm' })
      .event('agent.partial_answer', 3, { content: 'a' })
      .event('agent.tool_call', 4, { step_id: 't', content: 'run', metadata: { tool: 'find', args: { to: 'Paris' }, status: 'running' } })
    driven.now = 1_500
    driven
      .event('agent.tool_result', 5, { step_id: 't', content: 'found', metadata: { tool: 'find', status: 'success', error: null } })
      .event('agent.partial_answer', 6, { content: 'b' })
      .event('agent.final_answer', 7, { content: 'ab' })
    expect(driven.parts.map(({ kind }) => kind)).toEqual(['thinking', 'text', 'tool', 'text'])
    expect(driven.parts[2]).toMatchObject({ tool: 'find', args: { to: 'Paris' }, status: 'success', result: 'found', at: 1_000, endedAt: 1_500 })
  })

  it('shows a result without its call, and a tool that failed', () => {
    const driven = asked().event('agent.tool_result', 2, { step_id: 'x', content: 'broken', metadata: { tool: 'saw', error: 'no blade' } })
    expect(driven.parts).toMatchObject([{ kind: 'tool', tool: 'saw', status: 'error', error: 'no blade' }])
  })

  it('fails with an error, which closes what was open', () => {
    const driven = asked()
      .event('agent.user_confirm', 2, { step_id: 'q', content: 'sure?', metadata: { options: ['yes', 'no'] } })
      .event('agent.error', 3, { content: 'died', metadata: { code: 'WORKER_LOST', recoverable: false } })
    expect(driven.answers[0]?.state).toBe('failed')
    expect(driven.parts).toMatchObject([{ kind: 'question', state: 'closed' }, { kind: 'error', code: 'WORKER_LOST', recoverable: false }])
    expect(driven.state.open).toEqual([])
  })

  it('is cancelled', () => {
    const driven = asked().event('agent.partial_answer', 2, { content: 'a' }).on({ kind: 'cancel' })
    expect(driven.sent).toEqual([{ event: 'user.cancel', session_id: SESSION }])
    expect(driven.state.cancelling).toBe(true)
    driven.event('agent.interrupted', 3, { metadata: { reason: 'user_cancel' } })
    expect(driven.answers[0]?.state).toBe('cancelled')
    expect(driven.state.cancelling).toBe(false)
  })

  it('is not ended by a cancel that found nothing', () => {
    const driven = asked().event('agent.interrupted', 2, { metadata: { reason: 'nothing_running' } })
    expect(driven.state.open).toHaveLength(1)
  })

  it('is void once it was begun anew', () => {
    const driven = asked().event('agent.partial_answer', 2, { content: 'old' })
    driven.hear({ event: 'system.notice', session_id: SESSION, content: 'again', metadata: { code: 'turn_restarted' } })
    driven.event('agent.partial_answer', 3, { content: 'new', metadata: { turn_restarted: true } })
    expect(driven.parts).toEqual([{ kind: 'restarted' }, { kind: 'text', text: 'new' }])
  })

  it('is void, too, for who was away when that was told', () => {
    const driven = asked().event('agent.partial_answer', 2, { content: 'old' }).event('agent.thinking', 3, { content: 'new', metadata: { turn_restarted: true } })
    expect(driven.parts).toEqual([{ kind: 'restarted' }, { kind: 'thinking', text: 'new' }])
  })

  it('shows events that nobody knows as they are', () => {
    const driven = asked().event('plan.created', 2, { content: { steps: 2 } })
    expect(driven.parts).toMatchObject([{ kind: 'other', event: 'plan.created', text: '{\n  "steps": 2\n}' }])
  })
})

describe('questions', () => {
  const question = () => asked().event('agent.user_confirm', 2, { step_id: 'q', content: 'sure?', metadata: { options: ['yes', 'no'] } })

  it('are answered with their step', () => {
    const driven = question().on({ kind: 'respond', stepId: 'q', content: 'yes' })
    expect(driven.sent).toEqual([{ event: 'user.response', session_id: SESSION, step_id: 'q', content: 'yes' }])
    expect(driven.parts).toMatchObject([{ state: 'answered', answer: 'yes' }])
  })

  it('are open again if the answer did not arrive', () => {
    const driven = question().on({ kind: 'respond', stepId: 'q', content: 'yes' }, close(1006), { kind: 'opened' }).hear(greeting)
    driven.hear({ event: 'agent.state_restored', session_id: SESSION, metadata: { last_seq: 2, running: true, waiting: 0, open_steps: ['q'] } })
    expect(driven.parts).toMatchObject([{ state: 'open' }])
  })

  it('are closed if the agent waits for them no longer', () => {
    const driven = question().on(close(1006), { kind: 'opened' }).hear(greeting)
    driven.hear({ event: 'agent.state_restored', session_id: SESSION, metadata: { last_seq: 2, running: true, waiting: 0, open_steps: [] } })
    expect(driven.parts).toMatchObject([{ state: 'closed' }])
  })
})

describe('the queue', () => {
  it('answers messages in order, each where it stands', () => {
    const driven = asked('one').on(say('two'))
    driven.event('agent.final_answer', 2, { content: '1' }).event('agent.final_answer', 3, { content: '2' })
    expect(driven.state.items.map((item) => (item.kind === 'user' ? item.text : item.kind))).toEqual(['one', 'answer', 'two', 'answer'])
  })

  it(`takes ${MOST_WAITING} beside the one that is answered`, () => {
    const driven = asked('0')
    for (let n = 1; n <= MOST_WAITING; n += 1) driven.on(say(String(n)))
    expect(waitingOf(driven.state)).toBe(MOST_WAITING)
    expect(maySay(driven.state)).toBe(false)
    driven.on(say('too much'))
    expect(driven.of('user')).toHaveLength(MOST_WAITING + 1)
    driven.event('agent.final_answer', 2, { content: '' })
    expect(maySay(driven.state)).toBe(true)
  })

  it('marks the newest as not taken', () => {
    const driven = asked('one').on(say('two')).event('agent.error', 2, { content: 'busy', metadata: { code: 'BUSY' } })
    expect(driven.of('user').map(({ state }) => state)).toEqual(['sent', 'refused'])
    expect(driven.state.open).toHaveLength(1)
  })

  it('takes no empty message', () => {
    expect(live().on(say('  \n ')).effects).toEqual([])
  })
})

describe('numbers', () => {
  it('drop what comes twice', () => {
    const driven = asked().event('agent.partial_answer', 2, { content: 'a' }).event('agent.partial_answer', 2, { content: 'a' })
    expect(driven.parts).toEqual([{ kind: 'text', text: 'a' }])
  })

  it('tell what is missing, and take it when it comes late', () => {
    const driven = asked().event('agent.partial_answer', 4, { content: 'c' })
    expect(driven.of('note')).toMatchObject([{ code: 'missing', values: { from: 2, to: 3 } }])
    driven.event('agent.thinking', 3, { content: 'late' }).event('agent.thinking', 3, { content: 'late' })
    expect(driven.parts.filter(({ kind }) => kind === 'thinking')).toHaveLength(1)
  })

  it('mean nothing where the server counts by connection', () => {
    const driven = new Driven().on({ kind: 'connect' }, { kind: 'opened' }).hear({ ...greeting, seq: 1 }, { ...created, seq: 4 })
    driven.on(say('x')).event('agent.partial_answer', 9, { content: 'b' }).event('agent.partial_answer', 8, { content: 'a' })
    expect(driven.parts).toEqual([{ kind: 'text', text: 'ba' }])
    expect(driven.of('note')).toEqual([])
  })

  it('are those of our session only', () => {
    expect(asked().hear({ event: 'agent.partial_answer', session_id: 'other', seq: 2, content: 'x' }).answers).toEqual([])
  })
})

describe('without the protocol', () => {
  const silent = () => new Driven().on({ kind: 'connect' }, { kind: 'opened' }, { kind: 'silence' })

  it('is offered when nobody greets', () => {
    expect(silent().state).toMatchObject({ phase: 'greeting', silent: true })
    expect(live().on({ kind: 'silence' }).state.silent).toBe(false)
  })

  it('is offered when something else comes, which is shown', () => {
    const driven = new Driven().on({ kind: 'connect' }, { kind: 'opened' }, { kind: 'frame', text: 'welcome' })
    expect(driven.state.silent).toBe(true)
    expect(driven.of('raw')).toMatchObject([{ text: 'welcome', mine: false }])
  })

  it('sends texts as they are, and shows what comes', () => {
    const driven = silent().on({ kind: 'raw' }, say('{"a":1}'))
    expect(driven.effects).toEqual([{ kind: 'send', frame: '{"a":1}' }])
    driven.on({ kind: 'frame', text: JSON.stringify(greeting) })
    expect(driven.of('raw').map(({ mine }) => mine)).toEqual([true, false])
    expect(driven.on(close(1006)).state.phase).toBe('closed')
  })

  it('is left again', () => {
    const driven = silent().on({ kind: 'raw' }, { kind: 'protocol' })
    expect(driven.state).toMatchObject({ raw: false, phase: 'connecting', items: [] })
  })
})

describe('what is said beside', () => {
  it.each([
    [{ event: 'service_switched', metadata: { to: 'w-1' } }, 'switched'],
    [{ event: 'management_notification', content: 'noon', metadata: { level: 'critical' } }, 'notification'],
    [{ event: 'system.notice', content: 'x', metadata: { code: 'state_lost' } }, 'stateLost'],
    [{ event: 'system.notice', content: 'x', metadata: { code: 'events_lost', from_seq: 1, to_seq: 2 } }, 'eventsLost'],
    [{ event: 'system.notice', content: 'x', metadata: {} }, 'notice'],
    [{ event: 'system.error', content: 'x', metadata: { code: 'MALFORMED' } }, 'systemError'],
    [{ event: 'system.maintenance', content: 'x' }, 'event'],
    [{ event: 'agent.error', session_id: SESSION, seq: 2, content: 'x', metadata: { code: 'UNKNOWN_STEP' } }, 'agentError'],
  ])('%j is a note', (event, code) => {
    expect(live().hear(event).of('note')).toMatchObject([{ code }])
  })

  it('the end of a session ends it', () => {
    expect(live().event('agent.session_end', 2).state).toMatchObject({ phase: 'ended', ended: { code: 'SESSION_ENDED' } })
  })
})

describe('a new session', () => {
  it('leaves nothing of the old one', () => {
    const driven = asked().on({ kind: 'fresh' })
    expect(driven.state).toMatchObject({ phase: 'connecting', sessionId: undefined, items: [], open: [], sequence: { last: 0 } })
    expect(driven.effects).toEqual([{ kind: 'connect', afterMs: 0 }])
  })
})
