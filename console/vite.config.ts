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
  define: {
    // What nobody here uses: https://vuejs.org/api/compile-time-flags and https://vue-i18n.intlify.dev/guide/advanced/optimization
    __VUE_OPTIONS_API__: false,
    __VUE_I18N_FULL_INSTALL__: true,
    __VUE_I18N_LEGACY_API__: false,
    __INTLIFY_PROD_DEVTOOLS__: false,
    // src/app/locales/messageOf.ts makes the messages; its test compares them with the compiler's.
    __INTLIFY_DROP_MESSAGE_COMPILER__: process.env.VITEST === undefined,
  },
  build: {
    target: 'es2022',
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    chunkSizeWarningLimit: 800,
    rolldownOptions: {
      output: {
        // What every page needs comes in few files: a browser asks for six at a time, and each has a price.
        codeSplitting: {
          groups: [
            { name: 'chart', test: /node_modules\/(echarts|zrender|tslib)\//, priority: 3 },
            { name: 'vue', test: /node_modules\/@?vue\//, priority: 2 },
            { name: 'data', test: /node_modules\/(@tanstack\/(query-core|vue-query)|openapi-fetch|pinia)\//, priority: 2 },
            { name: 'pages', test: /node_modules\/(vue-router|vue-i18n|@intlify)\//, priority: 2 },
            // With all that they need themselves.
            { name: 'element', test: /node_modules\/element-plus\/es\/components\/(button|skeleton|icon)\//, priority: 2 },
            { name: 'more', test: /node_modules\/(element-plus|lodash-es|@ctrl|@element-plus|@vueuse)\//, priority: 1, minShareCount: 12 },
            { name: 'frame', test: /src\/(app|api)\/(?!locales)|src\/ui\/(?!log|Virtual|BarList)[^/]*$|TimeChart|features\/(events|services)\/(queries|model\/(kinds|list))/, priority: 1, minShareCount: 2 },
          ],
        },
      },
    },
    // The server sends no `data:` but pictures, and files are cached for ever.
    assetsInlineLimit: 0,
  },
  test: { environment: 'node', include: ['src/**/*.spec.ts'] },
})
