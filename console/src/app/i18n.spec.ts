import { expect, it } from 'vitest'
import { i18n } from './i18n'

it('a word that has no text is shown as it is', () => {
  expect(i18n.global.t('state.hibernating')).toBe('hibernating')
})
