import { mkdirSync } from 'node:fs'
import path from 'node:path'
import { chromium, firefox, type Browser, type BrowserContext, type Page } from 'playwright-core'

/** A browser and a size of its window. */
export interface Target {
  browser: 'chromium' | 'firefox'
  device: 'desktop' | 'mobile'
}

const wanted = process.env.E2E_TARGETS?.split(',')

/** What each story runs in. `E2E_TARGETS=chromium-desktop` runs only that. */
export const targets: Target[] = (['chromium', 'firefox'] as const)
  .flatMap((browser) => (['desktop', 'mobile'] as const).map((device) => ({ browser, device })))
  .filter(({ browser, device }) => wanted === undefined || wanted.includes(`${browser}-${device}`))

export const results = path.resolve(import.meta.dirname, '../results')

export function launch(browser: Target['browser']): Promise<Browser> {
  if (browser === 'firefox') {
    return firefox.launch({ channel: 'moz-firefox', executablePath: '/usr/bin/firefox-esr' })
  }
  return chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  })
}

const sizes = { desktop: { width: 1280, height: 800 }, mobile: { width: 390, height: 844 } }

interface Look {
  language?: 'en' | 'zh-CN'
  theme?: 'light' | 'dark'
}

/** A page, and everything it did that no page of ours may do. */
export class Visit {
  readonly faults: string[] = []
  /** Where requests may go. */
  readonly homes = new Set<string>()

  private constructor(
    readonly page: Page,
    readonly target: Target,
    private readonly context: BrowserContext,
  ) {}

  static async begin(browser: Browser, target: Target, url: string, look: Look = {}): Promise<Visit> {
    const mobile = target.device === 'mobile'
    const context = await browser.newContext({
      baseURL: url,
      viewport: sizes[target.device],
      locale: look.language ?? 'en',
      colorScheme: look.theme ?? 'light',
      // Firefox does not pretend to be a telephone.
      ...(mobile && target.browser === 'chromium' ? { isMobile: true, hasTouch: true, deviceScaleFactor: 2 } : {}),
    })
    // What the policy of the page forbids is named, with what did it.
    await context.addInitScript(() => {
      document.addEventListener('securitypolicyviolation', (event) => console.error('policy', event.effectiveDirective, event.sample, event.sourceFile, event.lineNumber))
    })
    const page = await context.newPage()
    const visit = new Visit(page, target, context)
    visit.homes.add(new URL(url).origin)
    visit.watch()
    page.setDefaultTimeout(20_000)
    return visit
  }

  /** Errors of the page, warnings on its console, and requests that leave its host are faults. */
  private watch() {
    this.page.on('pageerror', (error) => {
      if (!this.expected(error.message)) this.faults.push(`page error: ${error.stack ?? error.message}`)
    })
    this.page.on('console', (message) => {
      if (['warning', 'error'].includes(message.type()) && !this.expected(message.text())) {
        this.faults.push(`console ${message.type()}: ${message.text()} (${message.location().url})`)
      }
    })
    this.page.on('request', (request) => {
      const url = new URL(request.url())
      if (!['data:', 'blob:'].includes(url.protocol) && !this.homes.has(url.origin)) this.faults.push(`a request to ${request.url()}`)
    })
    this.page.on('websocket', (socket) => {
      // The proxy, on this machine: what else there may be is said by the policy of the page.
      if (new URL(socket.url()).hostname !== '127.0.0.1') this.faults.push(`a WebSocket to ${socket.url()}`)
    })
  }

  /** What the browser itself says of answers that a story asks for on purpose. */
  private readonly allowed: RegExp[] = []

  allow(...texts: RegExp[]) {
    this.allowed.push(...texts)
  }

  private expected(text: string): boolean {
    // Playwright's own programs in a page of Firefox are under the page's policy, and make a style element now and then.
    if (this.target.browser === 'firefox' && /policy style-src-elem .*(> |%3E%20)eval|blocked an inline style \(style-src-elem\)/.test(text)) return true
    return this.allowed.some((pattern) => pattern.test(text))
  }

  /** Keeps a picture and the page's text, for whoever asks why a story failed. */
  async keep(name: string): Promise<void> {
    mkdirSync(results, { recursive: true })
    const file = path.join(results, `${name}-${this.target.browser}-${this.target.device}`.replaceAll(/\W+/g, '-'))
    await this.page.screenshot({ path: `${file}.png`, fullPage: true }).catch(() => undefined)
  }

  async end(): Promise<void> {
    await this.context.close()
  }
}
