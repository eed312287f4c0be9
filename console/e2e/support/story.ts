import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Browser } from 'playwright-core'
import { mkdirSync } from 'node:fs'
import path from 'node:path'
import { launch, results, targets, Visit, type Target } from './browser'
import { Manager } from './manager'

interface Told {
  manager: Manager
  visit: Visit
  target: Target
}

/**
 * A story in each browser and window size, with a manager of its own. It fails on what it finds, and on any page error,
 * console warning or foreign request; then the picture, and in Chromium the trace, stay in `e2e/results`.
 */
export function story(name: string, tell: (told: Told) => Promise<void>, options: { only?: (target: Target) => boolean } = {}) {
  const told = targets.filter(options.only ?? (() => true))
  describe.each(told)(`${name} ($browser, $device)`, (target) => {
    let browser: Browser
    beforeAll(async () => {
      browser = await launch(target.browser)
    })
    afterAll(() => browser.close())

    it(name, async () => {
      const manager = await Manager.start()
      try {
        const visit = await Visit.begin(browser, target, manager.url)
        // Firefox tells of the opening of a WebSocket as of a request.
        if (target.browser === 'firefox') visit.homes.add(manager.proxy.replace(/^ws/, 'http'))
        // The trace of WebDriver BiDi has no snapshots of pages, so Firefox keeps pictures alone.
        const tracing = target.browser === 'chromium' ? visit.page.context().tracing : undefined
        await tracing?.start({ screenshots: true, snapshots: true })
        let failed = true
        try {
          await tell({ manager, visit, target })
          expect(visit.faults).toEqual([])
          failed = false
        } finally {
          if (failed) {
            mkdirSync(results, { recursive: true })
            await visit.keep(name)
            const file = `${name}-${target.browser}-${target.device}`.replaceAll(/\W+/g, '-')
            await tracing?.stop({ path: path.join(results, `${file}.zip`) }).catch(() => undefined)
            process.stderr.write(`faults: ${visit.faults.join('\n')}\n`)
          } else {
            await tracing?.stop()
          }
          await visit.end()
        }
      } finally {
        await manager.close()
      }
    })
  })
}
