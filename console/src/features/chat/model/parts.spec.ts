import { describe, expect, it } from 'vitest'
import { addressOf, doorOf } from './address'
import { closeWord, comesBack, delay } from './closing'
import { asLines, filterFrames, frameOf, MOST_FRAMES, MOST_TEXT, MOST_TEXT_IN_ALL, pretty, withFrames } from './frames'
import { asText, isPong, meaningForTurn, parseFrame, retryAfterMs } from './protocol'
import { complete, giveUp, noEvents, resumeAfter, rewind, take } from './sequence'
import { fromSnapshot, snapshotOf } from './snapshot'
import { emptyConversation, withItem } from './state'
import { pieces, spans } from './text'
import { answerText, bannerOf, deliveryOf, hasTalk, isBusy, isThinking, messageOf, secondsLeft } from './view'

describe('frames of the protocol', () => {
  it('are objects with an event', () => {
    expect(parseFrame('{"event":"a.b","seq":1,"session_id":"s","content":[1]}')).toEqual({ event: 'a.b', session_id: 's', step_id: undefined, seq: 1, content: [1], metadata: {} })
    expect(['x', '[]', 'null', '{"event":1}', '1'].map(parseFrame)).toEqual([undefined, undefined, undefined, undefined, undefined])
    expect(parseFrame('{"event":"a","metadata":[1],"seq":"2"}')).toMatchObject({ metadata: {}, seq: undefined })
  })

  it('may be a pong', () => {
    expect([isPong('{"type":"pong"}'), isPong('pong')]).toEqual([true, false])
  })

  it('have content that can be shown', () => {
    expect([asText('a'), asText(null), asText(undefined), asText({ a: 1 }), asText(0)]).toEqual(['a', '', '', '{\n  "a": 1\n}', '0'])
  })

  it('ask for waits within reason', () => {
    const wait = (value: unknown) => retryAfterMs({ event: 'x', content: '', metadata: { retry_after_ms: value } })
    expect([wait(500), wait(-1), wait(1e9), wait('5')]).toEqual([500, 0, 60_000, 0])
  })

  it('mean something for the turn', () => {
    const meaning = (event: string, metadata = {}) => meaningForTurn({ event, content: '', metadata })
    expect(meaning('agent.final_answer')).toBe('oldest')
    expect(meaning('agent.error', { code: 'AGENT_FAILED' })).toBe('oldest')
    expect(meaning('agent.error', { code: 'EMPTY_MESSAGE' })).toBe('newest')
    expect(meaning('agent.error', { code: 'UNKNOWN_STEP' })).toBe('aside')
    expect(meaning('agent.state_exported')).toBe('aside')
    expect(meaning('solver.step')).toBe('part')
  })
})

describe('sequence', () => {
  it('remembers what is missing, and asks from there', () => {
    const { sequence, gap } = take({ last: 2, missing: [] }, 5)
    expect(gap).toEqual({ from: 3, to: 4 })
    expect(sequence).toEqual({ last: 5, missing: [3, 4] })
    expect(resumeAfter(sequence)).toBe(2)
    expect(take(sequence, 3)).toEqual({ sequence: { last: 5, missing: [4] }, seen: false })
    expect(take(sequence, 5).seen).toBe(true)
    expect(resumeAfter(complete(sequence))).toBe(5)
    expect(giveUp(sequence, 3)).toEqual({ last: 5, missing: [4] })
    expect(giveUp(sequence, 9)).toEqual({ last: 9, missing: [] })
  })

  it('goes back with the server, but not forward', () => {
    expect(rewind({ last: 9, missing: [2, 7] }, 5)).toEqual({ last: 5, missing: [2] })
    expect(rewind({ last: 3, missing: [] }, 5).last).toBe(3)
  })

  it('does not grow without bound', () => {
    expect(take(noEvents, 1_000_000).sequence.missing).toHaveLength(1_000)
  })
})

describe('the end of a connection', () => {
  it('has words for each code', () => {
    expect([1000, 1006, 1010, 4001, 3000, 5000].map(closeWord)).toEqual(['c1000', 'c1006', 'other', 'own', 'own', 'other'])
  })

  it('is followed by longer and longer waits', () => {
    expect([0, 1, 5, 50].map((tries) => delay(tries, 1))).toEqual([100, 200, 3_200, 10_000])
    expect([delay(0, 0), delay(0, 1, 700)]).toEqual([50, 700])
  })

  it('is final if somebody meant it', () => {
    expect([1000, 1001, 1006, 1012, 1013, 4000].map(comesBack)).toEqual([false, true, true, true, true, false])
  })
})

describe('the front door', () => {
  const page = (hostname: string, protocol = 'http:') => ({ hostname, protocol })

  it.each([
    [['127.0.0.1:9090'], page('127.0.0.1'), 'ws://127.0.0.1:9090'],
    [['127.0.0.1:9090'], page('localhost'), 'ws://localhost:9090'],
    [['[::1]:9090'], page('localhost'), 'ws://[::1]:9090'],
    [['127.0.0.1:9090'], page('[::1]'), 'ws://127.0.0.1:9090'],
    [['127.0.0.1:9090', '0.0.0.0:9091'], page('10.0.0.5'), 'ws://10.0.0.5:9091'],
    [['192.168.0.1:1', '10.0.0.5:2'], page('10.0.0.5', 'https:'), 'wss://10.0.0.5:2'],
    [['10.0.0.5:9090'], page('console.example.org'), 'ws://console.example.org:9090'],
  ])('%j from %j is %s', (listeners, from, base) => {
    expect(doorOf(listeners, from)).toEqual({ kind: 'open', base })
  })

  it('may be closed, or where this page does not reach it', () => {
    expect(doorOf([], page('localhost'))).toEqual({ kind: 'closed' })
    expect(doorOf(['127.0.0.1:9090'], page('10.0.0.5'))).toEqual({ kind: 'elsewhere', address: '127.0.0.1:9090' })
  })

  it('is asked for a service, and for the instance of a session', () => {
    expect(addressOf('ws://h:1', 'a b', undefined)).toBe('ws://h:1/s/a%20b/?events=1')
    expect(addressOf('ws://h:1', 'a', 'x')).toBe('ws://h:1/s/a/?events=1&session_id=x')
  })
})

describe('the inspector', () => {
  const frames = ['{"event":"agent.thinking"}', '{"seq":1,"event":"user.message","content":"Hi"}', 'plain'].map((text, id) => frameOf(id, 0, id === 1 ? 'out' : 'in', text))

  it('names frames by their events', () => {
    expect(frames.map(({ title }) => title)).toEqual(['agent.thinking', 'user.message', 'plain'])
    expect(frameOf(1, 0, 'in', 'ü').bytes).toBe(2)
  })

  it('filters by words and direction', () => {
    expect(filterFrames(frames, { search: '', direction: '' })).toBe(frames)
    expect(filterFrames(frames, { search: 'HI user', direction: '' }).map(({ id }) => id)).toEqual([1])
    expect(filterFrames(frames, { search: '', direction: 'in' }).map(({ id }) => id)).toEqual([0, 2])
  })

  it('is bounded', () => {
    const many = Array.from({ length: MOST_FRAMES + 5 }, (_, id) => frameOf(id, 0, 'in', 'x'))
    expect(withFrames(many.slice(0, 5), many.slice(5))).toHaveLength(MOST_FRAMES)
    expect(withFrames(many.slice(0, 5), many.slice(5))[0]?.id).toBe(5)
    expect(frameOf(1, 0, 'in', 'x'.repeat(MOST_TEXT * 2)).text).toHaveLength(MOST_TEXT + 1)
  })

  it('keeps so much text in all', () => {
    const large = Array.from({ length: 400 }, (_, index) => frameOf(index, 0, 'in', 'x'.repeat(MOST_TEXT)))
    const kept = withFrames([], large)
    expect(kept.reduce((sum, { text }) => sum + text.length, 0)).toBeLessThanOrEqual(MOST_TEXT_IN_ALL)
    expect(kept.length).toBeGreaterThan(200)
    expect(kept.at(-1)?.id).toBe(399)
  })

  it('writes JSON for people, and for files', () => {
    expect([pretty('{"a":1}'), pretty('{a')]).toEqual(['{\n  "a": 1\n}', '{a'])
    expect(asLines(frames.slice(2))).toBe('{"at":"1970-01-01T00:00:00.000Z","direction":"in","text":"plain"}')
  })
})

describe('answers', () => {
  it('are text and code', () => {
    expect(pieces('Look:\n\n```js\nlet a\n\nlet b\n```\nThat\nis all.')).toEqual([
      { kind: 'text', text: 'Look:' },
      { kind: 'code', language: 'js', text: 'let a\n\nlet b' },
      { kind: 'text', text: 'That\nis all.' },
    ])
  })

  it('are code from the fence on, while they are written', () => {
    expect(pieces('a\n```py\nx = 1')).toEqual([{ kind: 'text', text: 'a' }, { kind: 'code', language: 'py', text: 'x = 1' }])
    expect(pieces('a\n```')).toEqual([{ kind: 'text', text: 'a' }, { kind: 'code', language: '', text: '' }])
  })

  it('may show fences within longer ones', () => {
    expect(pieces('````\n```\nx\n```\n````')).toEqual([{ kind: 'code', language: '', text: '```\nx\n```' }])
  })

  it('keep indentation and say nothing of nothing', () => {
    expect(pieces('\n  a\n')).toEqual([{ kind: 'text', text: '  a' }])
    expect(pieces('')).toEqual([])
  })

  it('are no fence if anything but its language follows', () => {
    expect(pieces('```a``` b')).toEqual([{ kind: 'text', text: '```a``` b' }])
    expect(pieces('~~~ js title\nx\n~~~ \ny')).toEqual([{ kind: 'code', language: 'js', text: 'x' }, { kind: 'text', text: 'y' }])
  })

  it.each([
    ['a fence that is none', `${'~'.repeat(100_000)}\``],
    ['a language that is none', `\`\`\`${'a'.repeat(100_000)}\``],
    ['spaces between words', `a${' '.repeat(100_000)}b`],
  ])('are read at once with %s', (_, text) => {
    const began = performance.now()
    expect(pieces(text)).toEqual([{ kind: 'text', text }])
    expect(performance.now() - began).toBeLessThan(500)
  })

  it('are plain where nobody reads on, and lose nothing', () => {
    const blocks = pieces('```\nx\n```\n'.repeat(2_000))
    expect(blocks).toHaveLength(501)
    expect(blocks.at(-1)?.text.match(/x/g)).toHaveLength(1_500)
    const words = spans('**a** '.repeat(5_000))
    expect(words).toHaveLength(2_000)
    expect(words.at(-1)).toMatchObject({ kind: 'plain' })
    expect(words.map(({ text }) => text).join('').match(/a/g)).toHaveLength(5_000)
    const long = '**a** '.repeat(50_000)
    expect(pieces(long)).toEqual([{ kind: 'text', text: long }])
    expect(spans(long)).toEqual([{ kind: 'plain', text: long }])
  })

  it('have words that stand out', () => {
    expect(spans('a `b` **c** 2*3*4 ``')).toEqual([
      { kind: 'plain', text: 'a ' },
      { kind: 'code', text: 'b' },
      { kind: 'plain', text: ' ' },
      { kind: 'strong', text: 'c' },
      { kind: 'plain', text: ' 2*3*4 ``' },
    ])
  })
})

describe('a reload', () => {
  const state = { ...withItem({ ...emptyConversation('s'), sequence: { last: 3, missing: [] }, phase: 'live' as const }, { kind: 'user', at: 1, text: 'hi', state: 'sent' }), open: [1] }

  it('goes on with what was there, without its connection', () => {
    expect(fromSnapshot(snapshotOf(state) ?? null, 's')).toMatchObject({ phase: 'idle', sessionId: 's', sequence: { last: 3 }, open: [1], nextId: 2, items: [{ text: 'hi' }] })
  })

  it('begins anew with what does not fit', () => {
    const empty = emptyConversation('other')
    expect([snapshotOf(state) ?? null, null, '{', '{"version":0}'].map((text) => fromSnapshot(text, 'other'))).toEqual([empty, empty, empty, empty])
  })

  it('begins anew with what somebody else has written', () => {
    const whole = { version: 1, sessionId: 's1', items: [], open: [], sequence: { last: 0, missing: [] }, nextId: 1 }
    expect(fromSnapshot(JSON.stringify({ ...whole, nextId: 7 }), 's1').nextId).toBe(7)
    for (const broken of [{ items: null }, { items: [null] }, { open: 1 }, { sequence: {} }, { sequence: { last: 0, missing: 1 } }, { nextId: 'x' }]) {
      expect(fromSnapshot(JSON.stringify({ ...whole, nextId: 7, ...broken }), 's1'), JSON.stringify(broken)).toEqual(emptyConversation('s1'))
    }
  })

  it('is not for what has no session or is too long', () => {
    expect(snapshotOf(emptyConversation())).toBeUndefined()
    expect(snapshotOf({ ...state, raw: true })).toBeUndefined()
    expect(snapshotOf(withItem(state, { kind: 'raw', at: 1, mine: true, text: 'x'.repeat(1_000_001) }))).toBeUndefined()
  })
})

describe('what is told', () => {
  const base = emptyConversation('s')

  it('is nothing while all is well', () => {
    expect(bannerOf({ ...base, phase: 'live' }, false)).toBeUndefined()
  })

  it('says what can be done', () => {
    expect(bannerOf({ ...base, phase: 'moved' }, false)).toMatchObject({ kind: 'moved', actions: ['takeBack', 'fresh'] })
    expect(bannerOf({ ...base, phase: 'ended', ended: { code: 'SESSION_LOST', text: 'x' } }, false)).toMatchObject({ kind: 'ended', code: 'SESSION_LOST', actions: ['fresh'] })
    expect(bannerOf({ ...base, phase: 'greeting', silent: true }, false)).toMatchObject({ kind: 'silent', actions: ['raw'] })
    expect(bannerOf({ ...base, phase: 'closed', silent: true, close: { code: 1000, reason: '' } }, false)).toMatchObject({ actions: ['raw', 'connect'] })
  })

  it('tells of a front door without a place, and of a stopped service', () => {
    const refused = (recoverable: boolean) => ({ ...base, phase: 'waiting' as const, refusal: { text: 'full', recoverable, retryAfterMs: 1 } })
    expect(bannerOf(refused(true), false)).toMatchObject({ kind: 'refused', tone: 'warn', reason: 'full', actions: ['connect'] })
    expect(bannerOf({ ...refused(false), phase: 'closed' }, true)).toMatchObject({ tone: 'bad', actions: ['start'] })
  })

  it('says after some tries what may be wrong', () => {
    const waiting = (tries: number) => bannerOf({ ...base, phase: 'waiting', tries, close: { code: 1006, reason: '' } }, false)
    expect([waiting(1)?.kind, waiting(4)?.kind]).toEqual(['closed', 'unreachable'])
    expect(bannerOf({ ...base, phase: 'closed', close: { code: 4001, reason: 'bye' } }, false)).toMatchObject({ word: 'own', code: 4001, reason: 'bye', tone: 'bad' })
  })

  it('counts down, to one', () => {
    expect([secondsLeft({ ...base, retryAt: 2_500 }, 0), secondsLeft({ ...base, retryAt: 0 }, 900)]).toEqual([3, 1])
  })

  it('knows how far a message is, and whether an answer is awaited', () => {
    const item = (id: number) => ({ kind: 'user' as const, id, at: 0, text: '', state: 'sent' as const })
    const state = { ...base, phase: 'live' as const, open: [1, 2], items: [item(1), item(2)] }
    expect([deliveryOf(state, item(1)), deliveryOf(state, item(2)), deliveryOf(state, { ...item(3), state: 'lost' })]).toEqual(['sent', 'queued', 'lost'])
    expect([isThinking(state), isBusy(state), isThinking(base), isBusy(base)]).toEqual([true, true, false, false])
    const answering = withItem(state, { kind: 'answer', at: 0, since: 0, parts: [], state: 'running' })
    expect([isThinking(answering), isBusy({ ...answering, open: [] })]).toEqual([false, true])
    expect([hasTalk(state.items), hasTalk([])]).toEqual([true, false])
  })

  it('knows what an answer answers', () => {
    const asked = withItem(base, { kind: 'user', at: 0, text: 'hi', state: 'sent' })
    const answered = withItem(asked, { kind: 'answer', at: 0, since: 0, parts: [], state: 'failed' })
    expect([messageOf(answered, 2), messageOf(answered, 1), messageOf(answered, 9)]).toEqual(['hi', undefined, undefined])
  })

  it('copies an answer without its steps', () => {
    expect(answerText({ kind: 'answer', id: 1, at: 0, since: 0, state: 'done', parts: [{ kind: 'text', text: 'a' }, { kind: 'thinking', text: 'x' }, { kind: 'text', text: 'b' }] })).toBe('ab')
  })
})
