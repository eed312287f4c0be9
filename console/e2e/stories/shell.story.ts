import { expect } from 'vitest'
import { story } from '../support/story'

story('an empty fleet is met, in the language and theme that somebody chooses', async ({ visit: { page }, target }) => {
  await page.goto('/')
  await page.getByTestId('live-state').and(page.locator('[data-state=live]')).waitFor()
  expect(await page.title()).toContain('MyAgent Manager')

  await page.getByRole('combobox', { name: 'Language' }).selectOption('zh-CN')
  await page.getByRole('heading', { level: 1, name: '仪表盘' }).waitFor()
  expect(await page.locator('html').getAttribute('lang')).toBe('zh-CN')

  await page.getByRole('switch').click()
  expect(await page.locator('html').getAttribute('class')).toContain('dark')
  await page.reload()
  await page.getByRole('heading', { level: 1, name: '仪表盘' }).waitFor()
  expect(await page.locator('html').getAttribute('class')).toContain('dark')

  if (target.device === 'mobile') await page.getByRole('button', { name: '菜单' }).click()
  await page.getByRole('link', { name: '服务', exact: true }).click()
  await page.waitForURL('**/services')
  await page.goto('/no/such/page')
  await page.getByRole('heading', { name: '没有这个页面' }).waitFor()
})
