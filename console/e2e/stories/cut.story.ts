import { expect } from 'vitest'
import { livelyFleet } from '../support/fleet'
import { Line } from '../support/line'
import { story } from '../support/story'
import { until } from '../support/until'

const CUT_MS = 60_000

for (const how of ['refusing', 'silent'] as const) {
  story(`a line that is cut (${how}) for a minute is told, and then nothing stale is shown`, async ({ manager, visit }) => {
    const { page } = visit
    // The browser says so itself.
    visit.allow(/ERR_CONNECTION|ERR_EMPTY_RESPONSE|ERR_INCOMPLETE|ERR_ABORTED|Failed to load resource/)
    const clients = await livelyFleet(manager)
    const line = await Line.to(manager.url)
    try {
      const row = (name: string) => page.locator(`[data-row="${name}"]`)
      const banner = page.getByRole('alert').filter({ hasText: 'does not answer' })
      visit.homes.add(line.url)
      await page.goto(`${line.url}/services`)
      await page.locator('[data-testid=live-state][data-state=live]').waitFor()
      await row('weather').getByText('Running').waitFor()

      line.cut(how)
      const since = Date.now()
      await banner.waitFor({ timeout: 30_000 })
      manager.cli('stop', '--quiet', 'weather')
      manager.cli('unregister', 'archive', '--quiet')
      manager.cli('register', 'newcomer', '--quiet', '--', 'node', 'nothing.mjs')
      await until(() => Date.now() - since > CUT_MS, 'the cut has lasted long enough', CUT_MS + 1_000)
      expect(await banner.isVisible()).toBe(true)
      // What is shown is what was; the page said so.
      expect(await row('archive').count()).toBe(1)

      line.mend()
      await page.locator('[data-testid=live-state][data-state=live]').waitFor({ timeout: 10_000 })
      await row('newcomer').waitFor({ timeout: 2_000 })
      await row('weather').getByText('Stopped').waitFor({ timeout: 2_000 })
      expect(await row('archive').count()).toBe(0)
      expect(await banner.count()).toBe(0)

      // Events of the meantime are there, each once.
      const kinds = await until(async () => {
        const { items } = await manager.api<{ items: { kind: string; service: string | null }[] }>('GET', 'events?limit=100')
        return items.filter(({ service }) => service === 'newcomer')
      }, 'the manager tells of the newcomer')
      await page.goto(`${line.url}/events?service=newcomer`)
      await until(async () => (await page.locator('[data-event]').count()) >= kinds.length, 'all of its events are shown', 10_000)
      expect(await page.locator('[data-event]').count()).toBe(kinds.length)
    } finally {
      line.close()
      clients.close()
    }
  }, { only: ({ browser, device }) => device === 'desktop' && (browser === 'chromium' || how === 'refusing') })
}
