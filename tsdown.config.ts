/**
 * The build of the published package: `src/` as ESM with declarations and source maps in `dist/`, a file for a file. That
 * keeps what is loaded late apart, lets a bundler leave out whole files, and leaves addresses relative to a file as they
 * are. Packages are not bundled.
 */
import { basename, dirname } from 'node:path'
import { defineConfig, type TsdownPlugin } from 'tsdown'
import { minifiedWgsl } from './scripts/minify-wgsl.ts'

/** The rooms that are namespaces: `import { nn } from 'weftgrad'`, or `import { lenet5 } from 'weftgrad/nn'`. */
const namespaces = /^\.\/(data|nn|weights)\/index\.ts$/

/**
 * Lets the entries import a namespace from its file. Rolldown by itself would make an object of it there, with a function
 * for every name, and a bundler could no longer tell which names a program uses.
 */
const importedNamespaces: TsdownPlugin = {
  name: 'imported-namespaces',
  resolveId: {
    order: 'pre',
    filter: { id: namespaces },
    handler(source, importer = '') {
      const isEntry = /^(index|node)\.(d\.)?ts$/.test(basename(importer)) && basename(dirname(importer)) === 'src'
      return isEntry ? { id: source.replace(/ts$/, 'js'), external: true } : undefined
    },
  },
}

/**
 * Declarations name the library that has `Symbol.dispose`; WebGPU's types come with TypeScript's DOM library. Their line
 * about a source map goes: there is none, as it would lead to sources that are not in the package.
 */
const declarations: TsdownPlugin = {
  name: 'declarations',
  generateBundle(_, bundle) {
    for (const chunk of Object.values(bundle)) {
      if (chunk.type !== 'chunk' || !chunk.fileName.endsWith('.d.ts')) continue
      const references = chunk.isEntry ? '/// <reference lib="esnext.disposable" />\n' : ''
      chunk.code = references + chunk.code.replace(/\n\/\/# sourceMappingURL=.*\s*$/, '\n')
    }
  },
}

export default defineConfig({
  entry: ['index', 'node', 'data/index', 'nn/index', 'weights/index', 'cli/main'].map((name) => `src/${name}.ts`),
  root: 'src',
  unbundle: true,
  format: 'esm',
  platform: 'neutral',
  target: 'es2022',
  sourcemap: true,
  dts: { sourcemap: false },
  deps: { neverBundle: /^node:/, skipNodeModulesBundle: true },
  plugins: [minifiedWgsl(), importedNamespaces, declarations],
  checks: { pluginTimings: false },
  report: false,
})
