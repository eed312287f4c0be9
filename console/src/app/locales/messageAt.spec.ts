import { createI18n } from 'vue-i18n'
import { describe, expect, it } from 'vitest'
import { messageAt } from './messageAt'

const texts = { state: { running: 'Running', deep: { er: 'Deeper' } }, plain: 'Plain', named: 'Of {name}', plural: 'one | many' }

describe('messageAt', () => {
  it('finds texts by their keys', () => {
    const { t } = createI18n({ legacy: false, locale: 'en', messages: { en: texts }, messageResolver: messageAt }).global
    expect([t('plain'), t('state.running'), t('state.deep.er'), t('named', { name: 'a' }), t('plural', 2)]).toEqual(['Plain', 'Running', 'Deeper', 'Of a', 'many'])
    expect(messageAt(texts, 'state')).toBe(texts.state)
  })

  it('finds nothing that is not theirs', () => {
    for (const key of ['state.constructor', 'constructor', '__proto__', 'state.__proto__.toString', 'plain.length', 'state.', '', 'state.no', 'no.no']) {
      expect(messageAt(texts, key), key).toBeNull()
    }
    expect(messageAt(undefined, 'plain')).toBeNull()
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
