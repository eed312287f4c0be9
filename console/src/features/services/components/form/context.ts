import { inject, type ComputedRef, type InjectionKey } from 'vue'
import type { ServiceForm } from '../../model/form'

/** What all parts of the form share. */
export interface FormContext {
  form: ServiceForm
  /** What is wrong with which field, by the API's name of it. */
  errors: ComputedRef<ReadonlyMap<string, string>>
  /** A service that is there already is changed. */
  editing: boolean
}

export const formContext: InjectionKey<FormContext> = Symbol('form')

export function useFormContext(): FormContext {
  const context = inject(formContext)
  if (context === undefined) throw new Error('a part of the form stands outside of it')
  return context
}
