import type { Page } from 'playwright-core'

/** Waits until a page shows what it has: its heading is there, nothing loads, and the feed is live. */
export async function settled(page: Page): Promise<void> {
  await page.getByRole('heading', { level: 1 }).first().waitFor()
  await page.locator('[data-testid=live-state][data-state=live]').waitFor()
  await page.waitForFunction(() => document.querySelector('.el-skeleton, [aria-busy=true]') === null)
  // Charts and fonts draw in the next frames; transitions end.
  await page.evaluate(async () => {
    await document.fonts.ready
    await Promise.all(document.getAnimations().filter((animation) => animation.effect?.getComputedTiming().iterations !== Infinity).map((animation) => animation.finished.catch(() => undefined)))
    await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))
  })
}
