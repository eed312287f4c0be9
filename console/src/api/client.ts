import createClient from 'openapi-fetch'
import { hearTime } from '@/ui/clock'
import { ApiProblem } from './problem'
import type { paths } from './schema.gen'

/** A request that has no answer for so long has failed. Start and stop wait for agents; looking waits for nobody. */
const TIMEOUT_MS = 120_000
const LOOK_TIMEOUT_MS = 10_000

/**
 * The API of the manager that served this page. Paths, parameters and bodies are those of its OpenAPI document.
 * Use it through `ask`, which gives the body or throws an `ApiProblem`.
 */
export const api = createClient<paths>({
  baseUrl: window.location.origin,
  fetch: async (request) => {
    const timeout = AbortSignal.timeout(request.method === 'GET' ? LOOK_TIMEOUT_MS : TIMEOUT_MS)
    const response = await fetch(request, { signal: AbortSignal.any([request.signal, timeout]) })
    hearTime(response.headers.get('date'))
    return response
  },
})

interface Answer<T> {
  data?: T
  error?: unknown
  response: Response
}

/** The body of an answer, or the problem why there is none. */
export async function ask<T>(request: Promise<Answer<T>>): Promise<T> {
  const { data, response, error } = await answerOf(request)
  if (response.ok) return data as T
  throw new ApiProblem(response.status, isObject(error) ? error : undefined)
}

/** The same with the version of what it shows, to be sent as `If-Match`. */
export async function askWithVersion<T>(request: Promise<Answer<T>>): Promise<{ body: T; version: string | null }> {
  const answer = await answerOf(request)
  const body = await ask(Promise.resolve(answer))
  return { body, version: answer.response.headers.get('etag') }
}

async function answerOf<T>(request: Promise<Answer<T>>): Promise<Answer<T>> {
  try {
    return await request
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error
    throw ApiProblem.unreachable(error)
  }
}

function isObject(value: unknown): value is Record<string, never> {
  return typeof value === 'object' && value !== null
}
