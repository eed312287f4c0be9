import { gzipSync } from 'node:zlib'
import { expect } from 'vitest'
import { settled } from '../support/settled'
import { livelyFleet } from '../support/fleet'
import { story } from '../support/story'

const BUDGET = 250 * 1024

story('the dashboard needs few programs, and those that draw charts come later', async ({ manager, visit: { page } }) => {
  const clients = await livelyFleet(manager)
  try {
    const scripts = new Map<string, Promise<number>>()
    page.on('response', (response) => {
      if (new URL(response.url()).pathname.endsWith('.js')) scripts.set(response.url(), response.body().then((body) => gzipSync(body, { level: 9 }).length))
    })
    await page.goto('/')
    await settled(page)
    await page.locator('[data-card]').first().waitFor()
    const loaded = await Promise.all([...scripts].map(async ([url, size]) => ({ url, size: await size })))
    const isChart = ({ url }: { url: string }) => /\/(chart|ChartCanvas)-/.test(url)
    const sum = (some: typeof loaded) => some.reduce((total, { size }) => total + size, 0)
    const first = sum(loaded.filter((file) => !isChart(file)))
    process.stdout.write(`first load: ${Math.round(first / 1024)} KiB in ${loaded.length} files; charts: ${Math.round(sum(loaded.filter(isChart)) / 1024)} KiB\n`)
    expect(first).toBeGreaterThan(0)
    expect(first).toBeLessThanOrEqual(BUDGET)
  } finally {
    clients.close()
  }
}, { only: ({ browser, device }) => browser === 'chromium' && device === 'desktop' })
