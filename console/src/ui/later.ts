import { onBeforeUnmount, onMounted, readonly, ref, type Ref } from 'vue'

/** Becomes true `turns` pieces of work after the component is mounted: what somebody does in between is answered first. */
export function useLater(turns = 1): Readonly<Ref<boolean>> {
  const due = ref(false)
  let timer = 0

  function wait(left: number) {
    timer = window.setTimeout(() => (left > 1 ? wait(left - 1) : (due.value = true)))
  }

  onMounted(() => wait(turns))
  onBeforeUnmount(() => window.clearTimeout(timer))
  return readonly(due)
}
