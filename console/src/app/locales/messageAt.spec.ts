import { createI18n } from 'vue-i18n'
import { describe, expect, it } from 'vitest'
import { messageAt } from './messageAt'

const texts = { state: { running: 'Running', deep: { er: 'Deeper' } }, plain: 'Plain', named: 'Of {name}', plural: 'one | many', at: "a{'@'}b" }

/** What stands there; one that stays as it is comes as a function. */
function textAt(key: string) {
  const found: unknown = messageAt(texts, key)
  return typeof found === 'function' ? (found() as unknown) : found
}

describe('messageAt', () => {
  it('finds texts by their keys', () => {
    expect([textAt('plain'), textAt('state.running'), textAt('state.deep.er')]).toEqual(['Plain', 'Running', 'Deeper'])
    expect(messageAt(texts, 'state')).toBe(texts.state)
  })

  it('finds nothing that is not theirs', () => {
    for (const key of ['state.constructor', 'constructor', '__proto__', 'state.__proto__.toString', 'plain.length', 'state.', '', 'state.no', 'no.no']) {
      expect(messageAt(texts, key), key).toBeNull()
    }
    expect(messageAt(undefined, 'plain')).toBeNull()
  })

  it('leaves to the compiler what has values or forms, and nothing else', () => {
    expect([messageAt(texts, 'named'), messageAt(texts, 'plural'), messageAt(texts, 'at')]).toEqual([texts.named, texts.plural, texts.at])
    expect(messageAt(texts, 'plain')).toBeTypeOf('function')
    const { t } = createI18n({ legacy: false, locale: 'en', messages: { en: texts }, messageResolver: messageAt }).global
    expect([t('plain'), t('named', { name: 'a' }), t('plural', 2), t('at')]).toEqual(['Plain', 'Of a', 'many', 'a@b'])
  })

  it('keeps words of others from breaking a translation', () => {
    const { t, te } = createI18n({ legacy: false, locale: 'en', messages: { en: texts }, messageResolver: messageAt, missingWarn: false, fallbackWarn: false }).global
    expect(t('state.running')).toBe('Running')
    for (const word of ['constructor', '__proto__', 'toString', 'a"]', '', '{a} @:b | c']) {
      expect(te(`state.${word}`), word).toBe(false)
      expect(t(`state.${word}`), word).toBe(`state.${word}`)
    }
  })
})
