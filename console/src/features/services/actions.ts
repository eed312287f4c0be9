import { ElMessage, ElMessageBox } from 'element-plus'
import { reactive } from 'vue'
import { useI18n } from 'vue-i18n'
import { useLive } from '@/api/live'
import { asProblem } from '@/api/problem'
import type { Event, ServiceView } from '@/api/schema.gen'
import { expectation, hear, isOutcome, type Expectation, type Outcome, type SlowAction } from './model/outcome'
import { readService, removeService, restartService, scaleService, startService, stopService } from './queries'

/** What is being done to which service, by anybody on this page: rows and pages show it. */
const pending = reactive(new Map<string, SlowAction | 'remove'>())

/** Services of which something is asked for right now: a button is pressed twice before it can show that it was. */
const asked = new Set<string>()

/** After so long nobody looks at a message any more. */
const FORGET_MS = 600_000

/**
 * What one does to a service. Each asks first where conversations would end, says what came of it, and has what is
 * shown asked for again. The answer is whether it was begun (of `remove`: done).
 */
export function useServiceActions() {
  const { t } = useI18n()
  const live = useLive()

  /** Has events tell what comes of `action`; they may be there before the answer is. */
  async function begin(action: SlowAction, request: () => Promise<ServiceView>, name: string) {
    const early: Event[] = []
    let expected: Expectation | undefined
    const unlisten = live.onEvent((event) => {
      if (expected === undefined) early.push(event)
      else receive(event)
    })
    const timer = window.setTimeout(end, FORGET_MS)
    pending.set(name, action)

    function end() {
      unlisten()
      window.clearTimeout(timer)
      if (pending.get(name) === action) pending.delete(name)
    }

    function receive(event: Event) {
      // Somebody has asked for something else meanwhile.
      if (pending.get(name) !== action) return end()
      if (expected === undefined) return
      const next = hear(expected, event)
      if (isOutcome(next)) conclude(next)
      else expected = next
    }

    function conclude(outcome: Outcome) {
      expected = undefined
      end()
      if (outcome.done) say(action, name)
      else ElMessage({ type: 'error', message: t('services.did.failed', { name, why: outcome.why }), duration: 8_000, showClose: true })
    }

    try {
      const answer = await request()
      expected = expectation(action, answer)
      if (expected.waiting.size === 0 || (action === 'scale' && answer.desired === 'stopped')) conclude({ done: true })
      else if (live.state === 'live') early.forEach(receive)
      else end()
    } catch (error) {
      end()
      throw error
    }
  }

  function say(action: SlowAction | 'remove', name: string) {
    ElMessage({ type: 'success', message: t(`services.did.${action}`, { name }), showClose: true })
  }

  function refuse(error: unknown) {
    const problem = asProblem(error)
    const message = problem.status === 0 ? t('problem.unreachable') : problem.message
    ElMessage({ type: 'error', message, duration: 8_000, showClose: true })
    return false
  }

  /** Asks before `action` ends something; `lost` says what, and nothing needs no question. */
  async function confirmed(name: string, action: 'stop' | 'restart' | 'scale' | 'remove', lost: string): Promise<boolean> {
    if (lost === '') return true
    try {
      await ElMessageBox.confirm(lost, t(`services.ask.${action}`, { name }), {
        confirmButtonText: t(`services.actions.${action}`),
        cancelButtonText: t('common.cancel'),
        confirmButtonClass: action === 'remove' || action === 'stop' ? 'el-button--danger' : '',
        // A dangerous button is not the one that Enter presses.
        autofocus: false,
      })
      return true
    } catch {
      return false
    }
  }

  async function attempt(name: string, action: () => Promise<boolean>): Promise<boolean> {
    if (asked.has(name)) return false
    asked.add(name)
    try {
      return await action()
    } catch (error) {
      return refuse(error)
    } finally {
      asked.delete(name)
    }
  }

  const start = (name: string) =>
    attempt(name, async () => {
      await begin('start', () => startService(name), name)
      return true
    })

  const stop = (name: string) =>
    attempt(name, async () => {
      const service = await readService(name)
      if (!(await confirmed(name, 'stop', connectionsLost(service)))) return false
      await begin('stop', () => stopService(name), name)
      return true
    })

  const restart = (name: string, allAtOnce = false) =>
    attempt(name, async () => {
      const service = await readService(name)
      // Sessions of an agent file outlive a rolling restart.
      const lost = service.source.kind === 'file' && !allAtOnce ? '' : connectionsLost(service)
      if (!(await confirmed(name, 'restart', lost))) return false
      await begin('restart', () => restartService(name, allAtOnce), name)
      return true
    })

  const scale = (name: string, replicas: number) =>
    attempt(name, async () => {
      const service = await readService(name)
      const lost = replicas < service.replicas ? connectionsLost(service) && t('services.ask.scaleText') : ''
      if (!(await confirmed(name, 'scale', lost))) return false
      await begin('scale', () => scaleService(name, replicas), name)
      return true
    })

  const remove = (name: string) =>
    attempt(name, async () => {
      const service = await readService(name)
      if (!(await confirmed(name, 'remove', [connectionsLost(service), t('services.ask.removeText')].filter(Boolean).join('\n')))) return false
      pending.set(name, 'remove')
      try {
        await removeService(name)
      } finally {
        pending.delete(name)
      }
      say('remove', name)
      return true
    })

  function connectionsLost(service: ServiceView): string {
    const n = service.stats.active_connections
    return n === 0 ? '' : t('services.ask.connections', { n }, n)
  }

  return { pending, start, stop, restart, scale, remove }
}
