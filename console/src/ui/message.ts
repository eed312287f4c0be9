import { ElMessage } from 'element-plus'

/** Says in passing what came of something. Load it when it is needed: `await import('@/ui/message')`. */
export function say(type: 'success' | 'error', message: string) {
  ElMessage({ type, message, showClose: true, duration: type === 'error' ? 8_000 : 3_000 })
}
