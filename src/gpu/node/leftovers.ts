/**
 * Removes what killed processes leave behind: unfinished files (`.NAME.PID-HEX.tmp`), interrupted downloads (`.part`),
 * staging folders, lock claims. Files in use were touched within the last day; only older ones are removed.
 */
import { lstat, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { cacheFolder } from './cache.ts'

const dayMs = 86_400_000

const leftovers = [
  /^\..+\.\d+-[0-9a-f]+\.(tmp|part)$/,
  /^staging-\d+-[0-9a-z]+/,
  /^\.fashion-mnist-.{6}$/,
  /^\.writable-\d+$/,
  /^lock(\.[\w-]+)+$/,
]

/** Removes the leftovers in a folder. Anything that cannot be removed stays: that is never a reason to fail. */
export async function sweepLeftovers(folder: string, now = Date.now()): Promise<void> {
  const names = await readdir(folder).catch(() => [])
  for (const name of names.filter((one) => leftovers.some((pattern) => pattern.test(one)))) {
    const path = join(folder, name)
    const facts = await lstat(path).catch(() => undefined)
    if (facts !== undefined && now - facts.mtimeMs > dayMs)
      await rm(path, { recursive: true, force: true }).catch(() => undefined)
  }
}

/**
 * Sweeps the cache and its folders, two levels deep: drivers, data, weights, tuning results, and each set of features.
 */
export async function sweepCache(root = cacheFolder()): Promise<void> {
  const sweep = async (folder: string, depth: number): Promise<void> => {
    await sweepLeftovers(folder)
    if (depth === 0) return
    const entries = await readdir(folder, { withFileTypes: true }).catch(() => [])
    for (const entry of entries) if (entry.isDirectory()) await sweep(join(folder, entry.name), depth - 1)
  }
  await sweep(root, 2)
}
