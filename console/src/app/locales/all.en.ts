import { byFeature } from './collect'
import app from './en'

export const messages = {
  ...app,
  ...byFeature(import.meta.glob<{ default: unknown }>('../../features/*/locales/en.ts', { eager: true })),
}
