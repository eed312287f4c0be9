import { expect, it } from 'vitest'
import { ApiProblem } from './problem'
import type { ProblemDocument } from './schema.gen'

const of = (body: unknown, status = 400) => new ApiProblem(status, body as Partial<ProblemDocument>)

it('a problem of the API says what it says', () => {
  const problem = of({ code: 'INVALID_REQUEST', detail: 'no', errors: [{ field: 'name', message: 'taken' }], request_id: 'r1' })
  expect(problem).toMatchObject({ code: 'INVALID_REQUEST', message: 'no', requestId: 'r1', status: 400 })
  expect(problem.field('name')).toBe('taken')
})

it('an error of somebody else is one nevertheless', () => {
  for (const body of [undefined, {}, { detail: { a: 1 }, title: 5, code: 7, errors: 'x', request_id: [] }, { errors: [null, 'x', { field: 1 }] }]) {
    expect(of(body, 502), JSON.stringify(body)).toMatchObject({ code: 'INTERNAL', message: 'HTTP 502', fields: [], requestId: undefined })
  }
})
