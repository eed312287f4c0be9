import { expect } from 'vitest'
import { Clients } from '../support/clients'
import { agent } from '../support/fleet'
import type { Manager } from '../support/manager'
import { story } from '../support/story'
import { until } from '../support/until'

const SERVICES = 1_000
const CONNECTIONS = 5_000
/** How long the page is watched for memory that it does not give back. */
const WATCH_MS = Number(process.env.E2E_WATCH_MS ?? 600_000)

async function crowd(manager: Manager): Promise<Clients> {
  const names = Array.from({ length: SERVICES - 2 }, (_, n) => `agent-${String(n).padStart(4, '0')}`)
  const AT_ONCE = 20
  for (let at = 0; at < names.length; at += AT_ONCE) {
    await Promise.all(
      names.slice(at, at + AT_ONCE).map((name, n) =>
        manager.api('POST', 'services', {
          name,
          source: { kind: 'command', argv: ['/usr/bin/node', agent('counter_server.mjs')] },
          tags: [`team-${(at + n) % 12}`, n % 2 ? 'public' : 'internal'],
          description: `Answers questions of department ${(at + n) % 37}`,
        }),
      ),
    )
  }
  for (const name of ['crowd-a', 'crowd-b']) manager.cli('register', name, agent('echo_agent.py'), '--quiet', '--tags', 'crowd')
  manager.cli('start', '--quiet', 'crowd-a', 'crowd-b')
  const clients = new Clients()
  for (const name of ['crowd-a', 'crowd-b']) await clients.connect(`${manager.proxy}/s/${name}/`, CONNECTIONS / 2)
  return clients
}

story('a thousand services and five thousand connections are as quick as ten', async ({ manager, visit: { page } }) => {
  const clients = await crowd(manager)
  const measured: Record<string, number> = {}
  const time = async (name: string, action: () => Promise<unknown>) => {
    const began = performance.now()
    await action()
    measured[name] = Math.round(performance.now() - began)
  }
  try {
    await page.goto('/settings')
    await page.getByRole('heading', { level: 1 }).waitFor()
    await page.getByRole('link', { name: 'Services', exact: true }).hover()
    await time('services open', async () => {
      await page.getByRole('link', { name: 'Services', exact: true }).click()
      await page.locator('[data-row]').first().waitFor()
    })
    expect(await page.getByText(/1,?000/).first().isVisible()).toBe(true)

    const search = page.getByRole('searchbox').first()
    await search.click()
    // From the key until the rows are painted, in the page, so that this program's own way does not count.
    measured['filter services'] = await page.evaluate(async () => {
      const input = document.querySelector<HTMLInputElement>('input[type=search]')
      if (!input) throw new Error('no search field')
      const began = performance.now()
      input.value = 'agent-0777'
      input.dispatchEvent(new Event('input', { bubbles: true }))
      while (document.querySelectorAll('[data-row]').length !== 1) await new Promise((resolve) => requestAnimationFrame(resolve))
      return Math.round(performance.now() - began)
    })
    await page.locator('[data-row="agent-0777"]').waitFor()

    await time('connections open', async () => {
      await page.getByRole('link', { name: 'Connections', exact: true }).click()
      await page.getByText(/5,?000/).first().waitFor()
      await page.locator('[data-row]').first().waitFor()
    })
    expect(await page.locator('[data-row]').count()).toBeLessThan(200)

    const heap = async () => {
      const session = await page.context().newCDPSession(page)
      await session.send('HeapProfiler.collectGarbage')
      const { usedSize } = await session.send('Runtime.getHeapUsage')
      await session.detach()
      return usedSize / 1024 ** 2
    }
    // What the page needs in any case: the charts, and all rows a second time.
    await page.locator('canvas').first().waitFor()
    for (let round = 0; round < 2; round += 1) await page.waitForResponse((response) => response.url().includes('/connections?limit='), { timeout: 30_000 })
    const before = await heap()
    const end = Date.now() + WATCH_MS
    let churn = 0
    while (Date.now() < end) {
      // Live updates: a service changes, and with it the list.
      await manager.api('PATCH', `services/agent-${String(churn % 900).padStart(4, '0')}`, { description: `Changed ${churn}` })
      churn += 1
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    const after = await until(heap, 'the heap is measured')
    measured['heap before, MiB'] = Math.round(before)
    measured['heap after, MiB'] = Math.round(after)
    process.stdout.write(`${JSON.stringify(measured)} after ${churn} changes\n`)

    expect(measured['services open']).toBeLessThan(1_000)
    expect(measured['filter services']).toBeLessThan(100)
    expect(after).toBeLessThan(before * 1.5 + 10)
  } finally {
    clients.close()
  }
}, {
  // On a machine that nobody else uses, with the program as it is released: `make console-soak`.
  only: ({ browser, device }) => browser === 'chromium' && device === 'desktop',
})
