#!/usr/bin/env node
/**
 * The `weftgrad` command. Plain JavaScript, so that it runs in a clone without a build: in a clone the TypeScript sources
 * are loaded through tsx, in a published package the built files are. Says what to do if Node or the packages are missing.
 */
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const leastNode = [20, 19]

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
if (major < leastNode[0] || (major === leastNode[0] && minor < leastNode[1])) {
  stop(
    `weftgrad needs Node.js ${leastNode.join('.')} or newer; this is ${process.version}. Get one from https://nodejs.org.`,
  )
}

// The sources win: a build beside them may be older.
const source = new URL('../src/cli/main.ts', import.meta.url)
const built = new URL('../dist/cli/main.js', import.meta.url)
const fromSource = existsSync(source)

if (fromSource) {
  // Its cache has a name in the folder for temporary files that others can guess, and what they put there would be run.
  process.env.TSX_DISABLE_CACHE ??= '1'
  let tsx
  try {
    tsx = await import('tsx/esm/api')
  } catch (error) {
    if (error?.code !== 'ERR_MODULE_NOT_FOUND') throw error
    stop(
      `weftgrad's packages are not installed. Run \`npm ci\` in ${fileURLToPath(new URL('..', import.meta.url))} first.`,
    )
  }
  tsx.register()
}
// Line numbers of the sources in stacks, for whoever asked for stacks.
if (process.env.WEFTGRAD_DEBUG === '1') process.setSourceMapsEnabled(true)

try {
  const { main } = await import((fromSource ? source : built).href)
  await main(process.argv.slice(2))
} catch (error) {
  if (error?.code !== 'ERR_MODULE_NOT_FOUND') throw error
  const install = fromSource ? 'npm ci' : 'npm install'
  stop(`A package of weftgrad's is missing (${error.message.split('\n')[0]}). Run \`${install}\` again.`)
}

/** @param {string} sentence */
function stop(sentence) {
  process.stderr.write(`${sentence}\n`)
  process.exit(1)
}
