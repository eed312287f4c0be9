import { onScopeDispose, ref, type Ref } from 'vue'

const now = ref(Date.now())
/** How much the clock of the manager, which wrote all times that are shown, is ahead of the browser's; ms. */
let ahead = 0
/** Times in answers are whole seconds, and answers take some: less is no difference. */
const NOTABLE_MS = 5_000

/** What time it was for the manager when it was `at` for the browser. */
export const managerTime = (at: number) => at + ahead

/** What time it is for the manager. */
export const managerNow = () => managerTime(Date.now())

/** The manager has told the time, as HTTP writes it. */
export function hearTime(text: string | null) {
  const difference = Date.parse(text ?? '') - Date.now()
  if (Math.abs(difference - ahead) >= NOTABLE_MS) ahead = Math.abs(difference) < NOTABLE_MS ? 0 : difference
}

let lookers = 0
let timer = 0

/** What time it is for the manager, each second; one timer for all who look. */
export function useNow(): Readonly<Ref<number>> {
  if (lookers === 0) {
    now.value = managerNow()
    timer = window.setInterval(() => (now.value = managerNow()), 1_000)
  }
  lookers += 1
  onScopeDispose(() => {
    lookers -= 1
    if (lookers === 0) window.clearInterval(timer)
  })
  return now
}
