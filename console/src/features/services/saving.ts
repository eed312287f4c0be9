import { ElMessageBox } from 'element-plus'
import { ref } from 'vue'
import { useI18n } from 'vue-i18n'
import { newKey } from '@/api/newKey'
import { asProblem, type ApiProblem } from '@/api/problem'
import { useServiceActions } from './actions'
import { changesBody, type Change } from './model/diff'
import { newService, type ServiceForm } from './model/form'
import { createService, updateService } from './queries'

export type Saved = { kind: 'saved'; name: string } | { kind: 'refused'; problem: ApiProblem } | { kind: 'reload' }

/** Sends what a form says, once, and asks what is to be asked afterwards. */
export function useSaving() {
  const { t } = useI18n()
  const actions = useServiceActions()
  const busy = ref(false)
  /** What was entered is stored, or to be thrown away. */
  const saved = ref(false)
  const key = newKey()

  async function attempt(action: () => Promise<Saved>): Promise<Saved> {
    busy.value = true
    try {
      const outcome = await action()
      saved.value = true
      return outcome
    } catch (error) {
      return { kind: 'refused', problem: asProblem(error) }
    } finally {
      busy.value = false
    }
  }

  const asked = (title: string, text: string, yes: string, no: string) =>
    ElMessageBox.confirm(text, title, { confirmButtonText: yes, cancelButtonText: no, autofocus: false }).then(
      () => true,
      () => false,
    )

  const create = (form: ServiceForm) =>
    attempt(async () => {
      const service = await createService(newService(form), key)
      return { kind: 'saved', name: service.name }
    })

  async function update(name: string, changes: readonly Change[], form: ServiceForm, version: string | null): Promise<Saved> {
    let restartRequired = false
    let failed = false
    const outcome = await attempt(async () => {
      const service = await updateService(name, changesBody(changes, form), version)
      restartRequired = service.restart_required === true
      failed = service.status === 'error'
      return { kind: 'saved', name: service.name }
    })
    if (outcome.kind === 'refused' && outcome.problem.status === 412) {
      const reload = await asked(t('services.form.conflictTitle'), t('services.form.conflictText', { name }), t('services.form.reload'), t('leave.no'))
      return reload ? { kind: 'reload' } : outcome
    }
    // What has failed waits for its next try with the old trouble on the screen; who has just mended it wants to see.
    if (failed) {
      if (await asked(t('services.form.startTitle', { name }), t('services.form.startText'), t('services.form.startNow'), t('services.form.later'))) void actions.start(name)
    } else if (restartRequired && (await asked(t('services.form.restartTitle', { name }), t('services.form.restartText'), t('services.form.restartNow'), t('services.form.later')))) {
      await actions.restart(name)
    }
    return outcome
  }

  return { busy, saved, create, update }
}
