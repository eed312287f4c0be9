import { onScopeDispose, ref, type Ref } from 'vue'

/** What time it is, each second; one timer for all who look. */
const now = ref(Date.now())
let lookers = 0
let timer = 0

export function useNow(): Readonly<Ref<number>> {
  if (lookers === 0) {
    now.value = Date.now()
    timer = window.setInterval(() => (now.value = Date.now()), 1_000)
  }
  lookers += 1
  onScopeDispose(() => {
    lookers -= 1
    if (lookers === 0) window.clearInterval(timer)
  })
  return now
}
