import { computed, onBeforeUnmount, onMounted, ref, watch, type Ref } from 'vue'
import type { Event } from '@/api/schema.gen'
import { held } from './model/feed'

/** So far from the top somebody still looks at what is new, px. */
const TOP_PX = 120

/** Events as they are shown: whoever has scrolled down is not disturbed by new ones; they wait, and are counted. */
export function useHeld(events: Ref<readonly Event[]>) {
  const atTop = ref(true)
  const ceiling = ref<number>()
  const look = () => (atTop.value = window.scrollY < TOP_PX)
  watch(atTop, (top) => (ceiling.value = top ? undefined : events.value[0]?.id))
  onMounted(() => window.addEventListener('scroll', look, { passive: true }))
  onBeforeUnmount(() => window.removeEventListener('scroll', look))

  const parts = computed(() => held(events.value, ceiling.value))
  return {
    shown: computed(() => parts.value.shown),
    waiting: computed(() => parts.value.waiting),
    toTop: () => window.scrollTo({ top: 0 }),
  }
}
