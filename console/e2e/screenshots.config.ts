import { defineConfig } from 'vitest/config'

/** `npm run screenshots`: pictures of every page, in `target/screenshots`. */
export default defineConfig({
  cacheDir: '.cache/screenshots',
  test: {
    root: import.meta.dirname,
    environment: 'node',
    include: ['screenshots/*.shot.ts'],
    testTimeout: 600_000,
    hookTimeout: 60_000,
    reporters: ['verbose'],
  },
})
