import { byFeature } from './collect'
import app from './zh-CN'

export const messages = {
  ...app,
  ...byFeature(import.meta.glob<{ default: unknown }>('../../features/*/locales/zh-CN.ts', { eager: true })),
}
