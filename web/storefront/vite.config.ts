import { defineConfig } from 'vite'

// Assets carry their hash in the name, so that they may be cached for ever; nothing is inlined,
// since the page's policy allows no inline script or style.
export default defineConfig({
  base: '/',
  build: {
    target: 'es2020',
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rollupOptions: { output: { entryFileNames: 'assets/[name]-[hash].js', assetFileNames: 'assets/[name]-[hash][extname]' } },
  },
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  server: { proxy: { '/v1': 'http://127.0.0.1:8080', '/demo': 'http://127.0.0.1:8080', '/simulated': 'http://127.0.0.1:8080' } },
})
