import { mkdirSync } from 'node:fs'
import path from 'node:path'
import { expect, it } from 'vitest'
import { Chat } from '../pages/service'
import { launch, Visit } from '../support/browser'
import { livelyFleet } from '../support/fleet'
import { Manager, repository } from '../support/manager'
import { settled } from '../support/settled'
import { until } from '../support/until'

const folder = path.join(repository, 'target/screenshots/manual')

it('pictures of the manual', async () => {
  mkdirSync(folder, { recursive: true })
  const browser = await launch('chromium')
  const manager = await Manager.start()
  const clients = await livelyFleet(manager)
  try {
    const visit = await Visit.begin(browser, { browser: 'chromium', device: 'desktop' }, manager.url)
    const { page } = visit
    const picture = async (name: string) => {
      await settled(page)
      await page.screenshot({ path: path.join(folder, `console-${name}.png`) })
    }

    await page.goto('/services/janitor/try')
    const chat = new Chat(page)
    await chat.ready()
    await chat.say('clean up')
    await page.getByRole('button', { name: 'yes', exact: true }).click()
    await page.locator('[data-testid=answer][data-state=done]').waitFor()
    await page.locator('details.step summary').first().click()
    await picture('try-it')

    await page.goto('/services/billing')
    await picture('service-broken')
    await page.goto('/routing/simulator?ip=10.1.2.3')
    await page.getByTestId('outcome').waitFor()
    await picture('simulator')

    // Statistics are measured each ten seconds; a picture without them says little.
    for (let asked = 0; asked < 12; asked += 1) {
      await clients.ask('Is it warmer in Paris or in Tokyo?', 6)
      const before = Date.now()
      await until(() => Date.now() - before > 5_000, 'the next question is due')
    }
    await page.goto('/?range=15m')
    await page.locator('[data-card]').first().waitFor()
    await picture('dashboard')
    expect(visit.faults).toEqual([])
  } finally {
    clients.close()
    await browser.close()
    await manager.close()
  }
})
