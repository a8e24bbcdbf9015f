/**
 * `weftgrad bench`: passes its arguments to the benchmarks, which exist in a clone but not in the published package.
 */
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { WeftgradError } from '../errors.ts'

export async function benchCommand(args: readonly string[]): Promise<void> {
  const address = new URL('../../bench/main.ts', import.meta.url)
  if (!existsSync(fileURLToPath(address))) {
    throw new WeftgradError('argument', 'The published package has no benchmarks. Run `npm run bench` in a clone.')
  }
  const bench: { readonly main?: unknown } = await import(address.href)
  if (typeof bench.main !== 'function') throw new TypeError(`${address.pathname} exports no function 'main'`)
  const code: unknown = await bench.main(args)
  if (typeof code === 'number') process.exitCode = code
}
