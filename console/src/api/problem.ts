import type { Code, FieldError, ProblemDocument } from './schema.gen'

/** Whoever stands between us and the manager answers errors in forms of its own. */
const textOf = (value: unknown) => (typeof value === 'string' && value !== '' ? value : undefined)

function isFieldError(value: unknown): value is FieldError {
  const { field, message } = (value ?? {}) as Partial<FieldError>
  return typeof field === 'string' && typeof message === 'string'
}

/** What the API refused, or what kept us from asking it. */
export class ApiProblem extends Error {
  override readonly name = 'ApiProblem'
  readonly code: Code | 'UNREACHABLE'
  /** HTTP status; 0 if there was no answer. */
  readonly status: number
  /** Each field at fault, with what is wrong with it. */
  readonly fields: readonly FieldError[]
  readonly requestId: string | undefined

  constructor(status: number, body: Partial<ProblemDocument> | undefined) {
    super(textOf(body?.detail) ?? textOf(body?.title) ?? `HTTP ${status}`)
    this.code = (textOf(body?.code) as Code | undefined) ?? (status === 0 ? 'UNREACHABLE' : 'INTERNAL')
    this.status = status
    this.fields = Array.isArray(body?.errors) ? body.errors.filter(isFieldError) : []
    this.requestId = textOf(body?.request_id)
  }

  static unreachable(cause: unknown): ApiProblem {
    const problem = new ApiProblem(0, { detail: cause instanceof Error ? cause.message : String(cause) })
    problem.cause = cause
    return problem
  }

  /** What is wrong with `field`, also if the API names a part of it, as `config.max_sessions` of `config`. */
  field(name: string): string | undefined {
    return this.fields.find((error) => error.field === name)?.message
  }
}

export function asProblem(error: unknown): ApiProblem {
  return error instanceof ApiProblem ? error : ApiProblem.unreachable(error)
}
