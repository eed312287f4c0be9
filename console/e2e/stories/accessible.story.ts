import AxeBuilder from '@axe-core/playwright'
import { expect } from 'vitest'
import { livelyFleet } from '../support/fleet'
import { places } from '../support/places'
import { settled } from '../support/settled'
import { story } from '../support/story'

const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']

story('every page is for everybody, in both themes', async ({ manager, visit: { page } }) => {
  const clients = await livelyFleet(manager)
  try {
    const found: string[] = []
    for (const theme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme: theme, reducedMotion: 'reduce' })
      for (const [name, path] of Object.entries(places)) {
        await page.goto(path)
        await settled(page)
        const { violations } = await new AxeBuilder({ page }).withTags(RULES).analyze()
        for (const { id, help, nodes } of violations) {
          found.push(...nodes.map((node) => `${name} (${theme}): ${id}: ${help}: ${node.target.join(' ')}: ${node.html.slice(0, 160)}: ${node.failureSummary?.split('\n')[1]?.trim() ?? ''}`))
        }
      }
    }
    expect(found).toEqual([])
  } finally {
    clients.close()
  }
}, {
  // One engine computes the same as the other; both sizes show other things.
  only: ({ browser }) => browser === 'chromium',
})

story('no page is wider than its window', async ({ manager, visit: { page } }) => {
  const clients = await livelyFleet(manager)
  try {
    const wide: string[] = []
    for (const width of [360, 768, 1280]) {
      await page.setViewportSize({ width, height: 800 })
      for (const [name, path] of Object.entries(places)) {
        await page.goto(path)
        await settled(page)
        const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
        if (over > 0) wide.push(`${name} at ${width}: ${over} px too wide`)
      }
    }
    expect(wide).toEqual([])
  } finally {
    clients.close()
  }
}, { only: ({ browser, device }) => browser === 'chromium' && device === 'desktop' })
