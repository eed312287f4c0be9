import { defineConfig } from 'vitest/config'

/** `npm run screenshots`: pictures of every page, in `target/screenshots`; `npm run speed`: marks of Lighthouse. */
export default defineConfig({
  cacheDir: '.cache/tools',
  test: {
    root: import.meta.dirname,
    environment: 'node',
    include: ['screenshots/*.shot.ts', 'speed/*.speed.ts'],
    testTimeout: 1_200_000,
    hookTimeout: 60_000,
    reporters: ['verbose'],
  },
})
