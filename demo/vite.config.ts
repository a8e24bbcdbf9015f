/**
 * Builds the demo, one page and its worker, into a folder that any file server can host. Addresses are relative, and the
 * page may load only its own files.
 */
import { fileURLToPath } from 'node:url'
import { defineConfig, type Plugin } from 'vite'
import { fashionMnistSample } from './sample/plugin.ts'

const contentSecurityPolicy = [
  "default-src 'none'",
  // The HDF5 library is WebAssembly.
  "script-src 'self' 'wasm-unsafe-eval'",
  "worker-src 'self'",
  "connect-src 'self'",
  // Observable Plot puts each chart's styles into the chart.
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' blob: data:",
  "base-uri 'none'",
  "form-action 'none'",
].join('; ')

/** Applies to the build only: the development server's client needs more. */
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
  // The page imports the sources above this folder.
  server: { fs: { allow: ['..'] } },
  // The development server uses these plugins for the worker too; the build uses those in `worker`.
  plugins: [policy, fashionMnistSample()],
  worker: { format: 'es', plugins: () => [fashionMnistSample()] },
  // The server discovers the worker's imports late, and would reload the page while it is in use.
  optimizeDeps: { include: ['comlink', 'h5wasm', 'fflate', '@tensorflow/tfjs-core', '@tensorflow/tfjs-converter'] },
  build: { target: 'es2023', outDir: 'dist', emptyOutDir: true, modulePreload: { polyfill: false } },
})
