import type { Locator, Page } from 'playwright-core'

/** The editor of a rule. */
export class RuleEditor {
  constructor(private readonly page: Page) {}

  async fill(rule: { name: string; field: string; value: string; service: string }) {
    await this.page.getByRole('textbox', { name: 'Name', exact: true }).fill(rule.name)
    await this.page.getByRole('button', { name: 'Add a condition' }).click()
    const condition = this.page.getByRole('group', { name: 'Condition 1' })
    await condition.getByLabel('Field', { exact: true }).selectOption(rule.field)
    await condition.getByLabel('Value').first().fill(rule.value)
    await condition.getByLabel('Value').first().press('Enter')
    const services = this.page.getByRole('combobox', { name: 'Services' })
    await services.fill(rule.service)
    await services.press('Enter')
  }

  get dryRun(): Locator {
    return this.page.getByTestId('dry-run')
  }

  async create() {
    await this.page.getByRole('button', { name: 'Create rule' }).click()
  }
}

/** Who would get a client. */
export class Simulator {
  constructor(private readonly page: Page) {}

  async client(ip: string) {
    await this.page.getByRole('textbox', { name: 'IP address' }).fill(ip)
  }

  outcome(kind: 'go' | 'wait' | 'refuse'): Locator {
    return this.page.locator(`[data-testid=outcome][data-outcome=${kind}]`)
  }
}
