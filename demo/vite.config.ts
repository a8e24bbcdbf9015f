/**
 * The demo: one page and its worker, made into a folder that any file server can host. Addresses are relative, and the
 * page may load nothing but its own files.
 */
import { fileURLToPath } from 'node:url'
import { defineConfig, type Plugin } from 'vite'
import { fashionMnistSample } from './sample/plugin.ts'

const contentSecurityPolicy = [
  "default-src 'none'",
  // WebAssembly is the HDF5 library.
  "script-src 'self' 'wasm-unsafe-eval'",
  "worker-src 'self'",
  "connect-src 'self'",
  // Observable Plot brings each chart's rules within the chart.
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' blob: data:",
  "base-uri 'none'",
  "form-action 'none'",
].join('; ')

/** In the build only: the development server's own client needs more. */
const policy: Plugin = {
  name: 'content-security-policy',
  apply: 'build',
  transformIndexHtml: () => [
    {
      tag: 'meta',
      attrs: { 'http-equiv': 'Content-Security-Policy', content: contentSecurityPolicy },
      injectTo: 'head-prepend',
    },
  ],
}

export default defineConfig({
  base: './',
  resolve: { alias: { weftgrad: fileURLToPath(new URL('../src/index.ts', import.meta.url)) } },
  // The page uses the sources above this folder, as they are.
  server: { fs: { allow: ['..'] } },
  // The development server takes the worker's plugins from here, the build from `worker`.
  plugins: [policy, fashionMnistSample()],
  worker: { format: 'es', plugins: () => [fashionMnistSample()] },
  // The server finds out about what the worker imports too late, and would load the page anew in the middle.
  optimizeDeps: { include: ['comlink', 'h5wasm', 'fflate', '@tensorflow/tfjs-core', '@tensorflow/tfjs-converter'] },
  build: { target: 'es2023', outDir: 'dist', emptyOutDir: true, modulePreload: { polyfill: false } },
})
