import { onScopeDispose, ref, type Ref } from 'vue'

/** So near the edge of the window the page scrolls along. */
const EDGE = 60
const SCROLL = 14

/**
 * Moving the children of `list` by a handle. While somebody drags, `from` and `to` are places in the list; the caller shows
 * the children in the order that they make. `drop` is called when something has moved.
 */
export function useDragOrder(list: Ref<HTMLElement | null>, drop: (from: number, to: number) => void) {
  const from = ref(-1)
  const to = ref(-1)
  let pointer = 0
  let y = 0
  let frame = 0

  function start(index: number, event: PointerEvent) {
    if (event.button !== 0 || from.value >= 0) return
    event.preventDefault()
    from.value = to.value = index
    pointer = event.pointerId
    y = event.clientY
    // On the window: an element that is moved in the page loses the pointer.
    window.addEventListener('pointermove', follow)
    window.addEventListener('pointerup', end)
    window.addEventListener('pointercancel', cancel)
    window.addEventListener('keydown', escape, true)
    frame = window.requestAnimationFrame(scroll)
  }

  function follow(event: PointerEvent) {
    if (event.pointerId !== pointer) return
    y = event.clientY
    place()
  }

  /** Layout, not what is seen: children that glide to their place are there already. */
  function place() {
    if (!list.value) return
    const children = [...list.value.children] as HTMLElement[]
    const inside = y - list.value.getBoundingClientRect().top
    const middle = (child: HTMLElement) => child.offsetTop + child.offsetHeight / 2
    const before = children[to.value - 1]
    const after = children[to.value + 1]
    if (before && inside < middle(before)) to.value -= 1
    else if (after && inside > middle(after)) to.value += 1
  }

  function scroll() {
    if (y < EDGE + 56) window.scrollBy(0, -SCROLL)
    else if (y > window.innerHeight - EDGE) window.scrollBy(0, SCROLL)
    place()
    frame = window.requestAnimationFrame(scroll)
  }

  function escape(event: KeyboardEvent) {
    if (event.key !== 'Escape') return
    event.stopPropagation()
    cancel()
  }

  function cancel() {
    from.value = to.value = -1
    window.cancelAnimationFrame(frame)
    window.removeEventListener('pointermove', follow)
    window.removeEventListener('pointerup', end)
    window.removeEventListener('pointercancel', cancel)
    window.removeEventListener('keydown', escape, true)
  }

  function end(event: PointerEvent) {
    if (event.pointerId !== pointer) return
    const [first, last] = [from.value, to.value]
    cancel()
    if (first !== last) drop(first, last)
  }

  onScopeDispose(cancel)
  return { from, to, start }
}
