import type { Locator, Page } from 'playwright-core'
import type { Target } from '../support/browser'

/** What is on every page. */
export class Frame {
  constructor(
    readonly page: Page,
    private readonly target: Target,
  ) {}

  /** Goes to a section by the navigation, as somebody does. */
  async section(name: string, menu = 'Menu') {
    if (this.target.device === 'mobile') await this.page.getByRole('button', { name: menu, exact: true }).click()
    await this.page.getByRole('navigation').getByRole('link', { name, exact: true }).click()
  }

  async live() {
    await this.page.locator('[data-testid=live-state][data-state=live]').waitFor()
  }

  heading(name: string): Locator {
    return this.page.getByRole('heading', { level: 1, name })
  }

  async language(code: 'en' | 'zh-CN') {
    await this.page.locator('header select').selectOption(code)
  }

  async toggleTheme() {
    await this.page.locator('header').getByRole('switch').click()
  }
}
