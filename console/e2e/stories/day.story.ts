import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { expect } from 'vitest'
import { Frame } from '../pages/page'
import { RuleEditor, Simulator } from '../pages/routing'
import { Chat, ServicePage } from '../pages/service'
import { ServiceForm, ServiceList } from '../pages/services'
import { story } from '../support/story'
import { until } from '../support/until'

/** An agent that prints what it hears. */
const AGENT = `
class Guide:
    async def astream(self, message):
        print(f"heard {message}", flush=True)
        yield "You said: "
        yield str(message)

agent = Guide()
`

/** Somebody is told of a death within so long, from the kill to the page. */
const TOLD_MS = 2_000

story('somebody who has never seen it runs an agent, talks to it, routes to it, and knows why it died', async ({ manager, visit, target }) => {
  const { page } = visit
  const file = path.join(manager.work, 'guide.py')
  writeFileSync(file, AGENT)
  const frame = new Frame(page, target)
  const [list, form, service, chat] = [new ServiceList(page), new ServiceForm(page), new ServicePage(page), new Chat(page)]

  // First run: the page says what to do.
  await page.goto('/')
  await frame.live()
  await page.getByRole('link', { name: 'Agent file' }).or(page.getByRole('button', { name: 'Agent file' })).first().click()

  // Register.
  await form.field('Path of the agent file').fill(file)
  await form.field('Name').fill('guide')
  await form.autoStart(false)
  expect(await form.command().textContent()).toContain(`register guide ${file}`)
  await form.submit()
  await page.waitForURL('**/services/guide**')

  // Start.
  await service.press('Start')
  await service.state('Running')

  // Chat.
  await service.press('Try it')
  await chat.ready()
  await chat.say('hello there')
  await chat.answer('You said: hello there').waitFor()

  // The connection is there while the chat is open: seen from another window.
  const other = await page.context().newPage()
  await other.goto('/connections')
  await other.locator('[data-row]').filter({ hasText: 'guide' }).waitFor()
  expect(await other.locator('[data-row]').count()).toBe(1)
  await other.close()

  // A rule, tried on who is connected before it is saved, and then with a client that does not exist.
  const editor = new RuleEditor(page)
  await page.goto('/routing/new')
  await editor.fill({ name: 'home', field: 'client_ip', value: '127.0.0.1', service: 'guide' })
  await editor.dryRun.waitFor()
  await editor.create()
  await page.waitForURL(/\/routing(\?.*)?$/)
  await page.locator('[data-rule=home]').waitFor()
  const simulator = new Simulator(page)
  await page.goto('/routing/simulator')
  await simulator.client('127.0.0.1')
  await simulator.outcome('go').getByText('guide-0').waitFor()
  await page.locator('[data-outcome=matched]').getByText('home').waitFor()

  // Its process is killed behind the manager's back; somebody who looks at its page is told.
  await service.open('guide', 'events')
  await frame.live()
  await page.getByText('Registered').or(page.getByText('registered')).first().waitFor()
  const { instances } = await manager.api<{ instances: { pid: number }[] }>('GET', 'services/guide')
  const pid = instances[0]?.pid ?? 0
  expect(pid).toBeGreaterThan(1)
  const killed = performance.now()
  process.kill(pid, 'SIGKILL')
  await page.getByText(/killed by signal 9/).first().waitFor({ timeout: TOLD_MS * 5 })
  const told = performance.now() - killed
  process.stdout.write(`a death is told after ${Math.round(told)} ms (${target.browser}, ${target.device})\n`)
  expect(told).toBeLessThan(TOLD_MS * (target.browser === 'chromium' ? 1 : 1.5))

  // It is back by itself, and answers.
  await until(async () => (await manager.api<{ instances: { pid: number }[] }>('GET', 'services/guide')).instances[0]?.pid !== pid, 'there is a new process')
  await service.open('guide')
  await service.state('Running')

  // Logs.
  await service.open('guide', 'logs')
  await service.logs.getByText('heard hello there').waitFor()

  // Bulk stop.
  await frame.section('Services')
  await list.state('guide', 'Running')
  await list.select('guide')
  await list.bulk('Stop')
  await list.state('guide', 'Stopped')

  // Language and theme.
  await frame.language('zh-CN')
  await frame.heading('服务').waitFor()
  await list.row('guide').getByText('已停止').waitFor()
  const dark = await page.locator('html.dark').count()
  await frame.toggleTheme()
  expect(await page.locator('html.dark').count()).toBe(1 - dark)
})
