/** The decisions of the client, by the cases that the clients of all languages share. */

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { Backoff, Sequence, Turns, message, retryAfter, withSession } from '../src/protocol.js'
import type { AgentEvent } from '../src/protocol.js'

type Steps = { it: string; last?: number; steps: [string, ...any[]][] }[]

interface Cases {
  backoff: { first: number; limit: number; chance: number; at_least: number[]; delays: number[] }[]
  retry_after: [Record<string, unknown>, number][]
  with_session: [string, string | null, string][]
  sequence: Steps
  turns: Steps
}

const cases = JSON.parse(readFileSync(new URL('../../../cases.json', import.meta.url), 'utf8')) as Cases

test('backoff', () => {
  for (const { first, limit, chance, at_least, delays } of cases.backoff) {
    const backoff = new Backoff(first, limit, () => chance)
    for (let round = 0; round < 2; round += 1) {
      assert.deepEqual(at_least.map((least) => backoff.delay(least)), delays)
      backoff.reset()
    }
  }
})

test('retry_after', () => {
  for (const [metadata, expected] of cases.retry_after) assert.equal(retryAfter(metadata), expected)
})

test('with_session', () => {
  for (const [url, session, expected] of cases.with_session) assert.equal(withSession(url, session ?? undefined), expected)
})

for (const { it, last, steps } of cases.sequence) {
  test(`sequence ${it}`, () => {
    const sequence = new Sequence(last)
    for (const [name, first, expected] of steps) {
      const step = `${name} ${first}`
      if (name === 'last') assert.equal(sequence.last, first, step)
      else if (name === 'take') assert.equal(sequence.take(first), expected, step)
      else if (name === 'restored') assert.equal(sequence.restored(first), expected, step)
      else if (name === 'begin') sequence.begin(first)
      else if (name === 'gap') sequence.gap(first)
      else if (name === 'replayed') sequence.replayed()
      else assert.fail(step)
    }
  })
}

for (const { it, steps } of cases.turns) {
  test(`turns ${it}`, () => {
    const turns = new Turns()
    for (const [name, first, second, third] of steps) {
      const step = `${name} ${JSON.stringify(first)}`
      if (name === 'send') turns.sent(message(first))
      else if (name === 'event') assert.deepEqual(turns.event(first as AgentEvent), { turn: second, ends: third }, step)
      else if (name === 'adopt') assert.equal(turns.adopt(), first, step)
      else if (name === 'open') assert.deepEqual(turns.open.map(({ content }) => content), first, step)
      else if (name === 'restored') turns.restored(first, second ?? undefined)
      else if (name === 'resumed') {
        const lost = turns.resumed().map(({ message, received }) => [message.content, received ?? null])
        assert.deepEqual(lost, first, step)
      } else assert.fail(step)
    }
  })
}
