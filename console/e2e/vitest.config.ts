import { defineConfig } from 'vitest/config'

/** Stories in real browsers, against the real program with real agents. `npm run e2e`. */
export default defineConfig({
  cacheDir: '.cache/e2e',
  test: {
    root: import.meta.dirname,
    environment: 'node',
    include: ['stories/*.story.ts'],
    // It wants a machine of its own: `make console-soak`.
    exclude: process.env.E2E_SOAK === undefined ? ['stories/crowd.story.ts'] : [],
    testTimeout: 180_000,
    hookTimeout: 60_000,
    maxWorkers: 2,
    reporters: ['verbose'],
  },
})
