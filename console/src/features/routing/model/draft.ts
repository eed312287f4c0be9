/** What the form of a new rule begins with: an example, another rule, or a client that was simulated. Pure. */
import type { RuleView } from '@/api/schema.gen'
import { readClient, ruleOf } from './client'
import { emptyForm, examples, readRule, type RuleForm } from './form'
import { freeName } from './list'

export interface Origin {
  /** Id of an example. */
  example?: string
  /** Name of the rule that is duplicated. */
  copy?: string
  /** Whether the client in the address is to be taken. */
  client?: string
}

export interface DraftTexts {
  exampleName: (id: string) => string
  copyName: (name: string) => string
}

export function draft(query: Readonly<Record<string, unknown>> & Origin, rules: readonly RuleView[], texts: DraftTexts): RuleForm {
  const taken = rules.map(({ name }) => name)
  const example = examples.find(({ id }) => id === query.example)
  if (example) return { ...readRule(example.rule), name: freeName(texts.exampleName(example.id), taken) }
  const original = rules.find(({ name }) => name === query.copy)
  if (original) return { ...readRule(original), name: freeName(texts.copyName(original.name), taken) }
  if (query.client !== undefined) return readRule(ruleOf(readClient(query)))
  return emptyForm()
}
