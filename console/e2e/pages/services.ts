import type { Locator, Page } from 'playwright-core'

/** The list of services. */
export class ServiceList {
  constructor(private readonly page: Page) {}

  row(name: string): Locator {
    return this.page.locator(`[data-row="${name}"]`)
  }

  async state(name: string, state: string) {
    await this.row(name).locator('[data-column=status]').getByText(state, { exact: true }).waitFor()
  }

  async select(...names: string[]) {
    for (const name of names) await this.page.getByRole('checkbox', { name: `Select ${name}`, exact: true }).check()
  }

  /** Does something with what is selected, and says yes when asked. */
  async bulk(action: 'Start' | 'Stop' | 'Restart' | 'Delete') {
    await this.page.getByRole('region', { name: 'Selected services' }).getByRole('button', { name: action, exact: true }).click()
    await this.page.getByRole('dialog').getByRole('button', { name: action, exact: true }).click()
  }
}

/** The form that registers a service. */
export class ServiceForm {
  constructor(private readonly page: Page) {}

  field(name: string): Locator {
    return this.page.getByRole('textbox', { name, exact: true })
  }

  command(): Locator {
    return this.page.getByTestId('equivalent-command')
  }

  async autoStart(on: boolean) {
    await this.page.getByRole('checkbox', { name: 'Start it now, and whenever the manager starts' }).setChecked(on)
  }

  async submit() {
    await this.page.getByRole('button', { name: 'Register', exact: true }).click()
  }
}
