import type { Level, Notification } from '@/api/schema.gen'

export const levels = ['info', 'warning', 'critical'] as const satisfies Level[]

/** Longest text, bytes. */
export const MOST_BYTES = 4096

export function bytesOf(text: string): number {
  return new TextEncoder().encode(text).length
}

/** What is wrong with a text, as the end of a key of `dashboard.notification`. */
export function faultOf(message: string): 'missing' | 'tooLong' | undefined {
  if (message.trim() === '') return 'missing'
  return bytesOf(message) > MOST_BYTES ? 'tooLong' : undefined
}

/** What is sent; no service means all. */
export function notificationOf(message: string, level: Level, service: string): Notification {
  return { message: message.trim(), level, ...(service === '' ? {} : { service }) }
}
