import type { Locator, Page } from 'playwright-core'

/** The page of one service. */
export class ServicePage {
  constructor(private readonly page: Page) {}

  async open(name: string, tab = '') {
    await this.page.goto(`/services/${name}${tab && `/${tab}`}`)
  }

  async press(action: 'Start' | 'Stop' | 'Restart' | 'Try it') {
    const name = { name: action, exact: true }
    await this.page.getByRole('button', name).or(this.page.getByRole('link', name)).first().click()
  }

  async state(state: string) {
    await this.page.getByTestId('state').getByText(state, { exact: true }).waitFor()
  }

  get logs(): Locator {
    return this.page.getByTestId('log-lines')
  }
}

/** The chat with a service. */
export class Chat {
  constructor(private readonly page: Page) {}

  async ready() {
    await this.page.locator('[data-testid=link-state][data-phase=live]').waitFor()
  }

  async say(text: string) {
    const field = this.page.getByRole('textbox', { name: 'Message' })
    await field.fill(text)
    await field.press('Enter')
  }

  answer(text: string): Locator {
    return this.page.locator('[data-testid=answer]').filter({ hasText: text })
  }
}
