import { gzipSync } from 'node:zlib'
import { launch as launchChrome } from 'chrome-launcher'
import lighthouse, { desktopConfig, generateReport } from 'lighthouse'
import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { results } from '../support/browser'
import type { Clients } from '../support/clients'
import { livelyFleet } from '../support/fleet'
import { Manager } from '../support/manager'

/** The program under test is built for debugging and shares the machine with other tests; the budget is checked by `npm run lighthouse`. */
const SLACK = Number(process.env.LIGHTHOUSE_SLACK ?? 15)

describe('a first visit', () => {
  let manager: Manager
  let clients: Clients
  beforeAll(async () => {
    manager = await Manager.start()
    clients = await livelyFleet(manager)
  })
  afterAll(async () => {
    clients.close()
    await manager.close()
  })

  it.each([
    ['desktop', 95],
    ['mobile', 90],
  ] as const)('on %s has good marks from Lighthouse', async (device, performance) => {
    const chrome = await launchChrome({ chromePath: '/usr/bin/chromium', chromeFlags: ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync'] })
    try {
      const categories = ['performance', 'accessibility', 'best-practices']
      const result = await lighthouse(manager.url, { port: chrome.port, onlyCategories: categories, logLevel: 'silent' }, device === 'desktop' ? desktopConfig : undefined)
      if (!result) throw new Error('Lighthouse has no result')
      mkdirSync(results, { recursive: true })
      writeFileSync(path.join(results, `lighthouse-${device}.html`), generateReport(result.lhr, 'html'))
      const score = (name: string) => Math.round((result.lhr.categories[name]?.score ?? 0) * 100)
      const marks = Object.fromEntries(categories.map((name) => [name, score(name)]))
      process.stdout.write(`Lighthouse, ${device}: ${JSON.stringify(marks)}\n`)
      const failed = Object.values(result.lhr.audits)
        .filter((audit) => audit.score !== null && audit.score < 1 && audit.scoreDisplayMode === 'binary')
        .map((audit) => audit.id)
      expect(marks.accessibility, failed.join()).toBe(100)
      expect(marks['best-practices'], failed.join()).toBeGreaterThanOrEqual(95)
      expect(marks.performance).toBeGreaterThanOrEqual(performance - SLACK)
    } finally {
      chrome.kill()
    }
  })

  it('loads at most 250 KB of compressed programs before the dashboard shows its numbers', async () => {
    const { launch } = await import('../support/browser')
    const browser = await launch('chromium')
    try {
      const page = await browser.newPage()
      const scripts = new Map<string, Promise<number>>()
      page.on('response', (response) => {
        if (new URL(response.url()).pathname.endsWith('.js')) scripts.set(response.url(), response.body().then((body) => gzipSync(body, { level: 9 }).length))
      })
      await page.goto(manager.url)
      await page.getByRole('heading', { level: 1 }).waitFor()
      await page.waitForLoadState('networkidle').catch(() => undefined)
      const loaded = await Promise.all([...scripts].map(async ([url, size]) => ({ url, size: await size })))
      const charts = loaded.filter(({ url }) => url.includes('ChartCanvas'))
      const first = loaded.filter(({ url }) => !url.includes('ChartCanvas'))
      const total = first.reduce((sum, { size }) => sum + size, 0)
      process.stdout.write(`first load: ${Math.round(total / 1024)} KiB in ${first.length} files; charts, later: ${Math.round(charts.reduce((sum, { size }) => sum + size, 0) / 1024)} KiB\n`)
      expect(total).toBeLessThanOrEqual(250 * 1024)
    } finally {
      await browser.close()
    }
  })
})
