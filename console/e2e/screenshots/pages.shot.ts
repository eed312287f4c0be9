import { mkdirSync } from 'node:fs'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Browser } from 'playwright-core'
import { launch, Visit, type Target } from '../support/browser'
import type { Clients } from '../support/clients'
import { livelyFleet } from '../support/fleet'
import { Manager, repository } from '../support/manager'
import { places } from '../support/places'
import { settled } from '../support/settled'

const folder = path.join(repository, 'target/screenshots')

const looks = [
  { look: 'light', device: 'desktop', theme: 'light', language: 'en' },
  { look: 'dark', device: 'desktop', theme: 'dark', language: 'en' },
  { look: 'mobile', device: 'mobile', theme: 'light', language: 'en' },
  { look: 'chinese', device: 'desktop', theme: 'light', language: 'zh-CN' },
] as const

describe('pictures', () => {
  let manager: Manager
  let clients: Clients
  let browser: Browser
  beforeAll(async () => {
    mkdirSync(folder, { recursive: true })
    browser = await launch('chromium')
    manager = await Manager.start()
    clients = await livelyFleet(manager)
  })
  afterAll(async () => {
    clients.close()
    await browser.close()
    await manager.close()
  })

  it.each(looks)('of every page ($look)', async ({ look, device, theme, language }) => {
    const target: Target = { browser: 'chromium', device }
    const visit = await Visit.begin(browser, target, manager.url, { theme, language })
    try {
      for (const [name, where] of Object.entries(places)) {
        await visit.page.goto(where)
        await settled(visit.page)
        await visit.page.screenshot({ path: path.join(folder, `${name}-${look}.png`) })
      }
      expect(visit.faults).toEqual([])
    } finally {
      await visit.end()
    }
  })
})
