/**
 * Where weftgrad keeps what it fetched: drivers, data, weights, tuning. One folder, never the user's project.
 * `WEFTGRAD_CACHE_DIR` names it; otherwise it follows the habit of the platform. Native code is run from it: it is made
 * for its owner alone, and never lies under a name that others could guess in a folder that they can write.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { isAbsolute, join, resolve } from 'node:path'

/** What the rules look at; tests give their own. */
export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly platform: NodeJS.Platform
  /** The home folder, or undefined where the user has none. */
  readonly home: string | undefined
}

/** The cache folder, made for this user alone (mode 0700) where it is missing and can be made. */
export function cacheFolder(): string {
  const path = cachePath()
  if (path === undefined) return temporaryFolder()
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 })
  } catch {
    // Whoever writes there says what is wrong with it.
  }
  return path
}

let temporary: string | undefined

/** Without a home: a folder with a random name, for this process only. */
function temporaryFolder(): string {
  if (temporary !== undefined) return temporary
  const made = mkdtempSync(join(tmpdir(), 'weftgrad-'))
  temporary = made
  process.once('exit', () => rmSync(made, { recursive: true, force: true }))
  process.stderr.write(
    'weftgrad: there is no home folder, so what is fetched or cached is kept for this command only. ' +
      'Set WEFTGRAD_CACHE_DIR to a folder of your own to keep it.\n',
  )
  return made
}

/** Where the cache folder is, as an absolute path; undefined where there is neither a home nor a variable that names one. */
export function cachePath(surroundings: Surroundings = here()): string | undefined {
  const { env, platform, home } = surroundings
  if (env.WEFTGRAD_CACHE_DIR) return resolve(env.WEFTGRAD_CACHE_DIR)
  if (platform === 'win32' && env.LOCALAPPDATA) return join(env.LOCALAPPDATA, 'weftgrad')
  if (platform === 'darwin' && home) return join(home, 'Library', 'Caches', 'weftgrad')
  const base = userCacheFolder(surroundings)
  return base === undefined ? undefined : join(base, 'weftgrad')
}

/** `$XDG_CACHE_HOME`, else `~/.cache`. The XDG base directory specification has relative paths ignored. */
export function userCacheFolder({ env, home }: Surroundings = here()): string | undefined {
  if (env.XDG_CACHE_HOME && isAbsolute(env.XDG_CACHE_HOME)) return env.XDG_CACHE_HOME
  return home ? join(home, '.cache') : undefined
}

function here(): Surroundings {
  return { env: process.env, platform: process.platform, home: homeOrUndefined() }
}

/** `homedir()` throws for a user id without a passwd entry, as containers like to have. */
function homeOrUndefined(): string | undefined {
  try {
    return homedir() || undefined
  } catch {
    return undefined
  }
}
