import { fileURLToPath } from 'node:url'
import vue from '@vitejs/plugin-vue'
import ElementPlus from 'unplugin-element-plus/vite'
import { defineConfig } from 'vitest/config'

/** Where the manager of `npm run dev` is; what the page asks for goes there as if it came from there. */
const manager = process.env.MYAGENT_API ?? 'http://127.0.0.1:8080'
const proxied = {
  target: manager,
  changeOrigin: true,
  headers: { origin: manager },
}

export default defineConfig({
  cacheDir: '.cache/vite',
  plugins: [vue(), ElementPlus({})],
  resolve: { alias: { '@': fileURLToPath(new URL('./src', import.meta.url)) } },
  server: {
    host: '127.0.0.1',
    port: 3000,
    proxy: { '/api': proxied, '/docs': proxied, '/openapi.json': proxied, '/metrics': proxied, '/health': proxied },
  },
  build: {
    target: 'es2022',
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    chunkSizeWarningLimit: 800,
    // The server sends no `data:` but pictures, and files are cached for ever.
    assetsInlineLimit: 0,
  },
  test: { environment: 'node', include: ['src/**/*.spec.ts'] },
})
