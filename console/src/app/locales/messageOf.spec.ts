import { createI18n } from 'vue-i18n'
import { describe, expect, it } from 'vitest'
import { messages as en } from './all.en'
import { messages as zh } from './all.zh-CN'
import { messageAt } from './messageAt'
import { messageOf } from './messageOf'

const texts = {
  plain: 'Plain: 100%',
  named: 'Of {name}',
  twice: '{name}, {other} and {name}',
  ends: '{name}{other}',
  literal: "$PORT; {'{port}'} and {name}",
  forms: 'one | many',
  three: 'No lines | One line | {n} lines of {name}',
}
const values = { name: '<b>{x}</b>', other: 7, count: 3 }

/** Every text of `tree` with its key. */
function textsOf(tree: object, prefix = ''): [key: string, text: string][] {
  return Object.entries(tree).flatMap(([key, value]) => (typeof value === 'string' ? [[prefix + key, value]] : textsOf(value as object, `${prefix}${key}.`)))
}

const options = { legacy: false, locale: 'x', missingWarn: false, fallbackWarn: false } as const

describe('messageOf', () => {
  it.each([
    ['samples', texts],
    ['English', en],
    ['Chinese', zh],
  ])('says of all %s what the compiler of vue-i18n would', (_name, messages) => {
    const ours = createI18n({ ...options, messages: { x: messages }, messageResolver: messageAt }).global
    const theirs = createI18n({ ...options, messages: { x: messages } }).global
    for (const [key, text] of textsOf(messages)) {
      const all = Object.fromEntries([...text.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => [name, `<${name}>`]))
      for (const n of [0, 1, 2, 5]) expect(ours.t(key, { ...all, ...values }, n), key).toBe(theirs.t(key, { ...all, ...values }, n))
    }
  })

  it('leaves a place empty for which there is no value', () => {
    const { t } = createI18n({ ...options, messages: { x: texts }, messageResolver: messageAt }).global
    expect(t('twice', { other: null })).toBe(',  and ')
  })

  it('makes each text once', () => {
    expect(messageOf(texts.named)).toBe(messageOf(texts.named))
  })
})
