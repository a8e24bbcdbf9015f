/**
 * Where weftgrad keeps what it fetched: drivers, data, weights, tuning. One folder, never the user's project.
 * `WEFTGRAD_CACHE_DIR` names it; otherwise it follows the habit of the platform.
 */
import { homedir, tmpdir, userInfo } from 'node:os'
import { isAbsolute, join, resolve } from 'node:path'

/** What the rules look at; tests give their own. */
export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly platform: NodeJS.Platform
  /** The home folder, or undefined where the user has none. */
  readonly home: string | undefined
}

/** The cache folder as an absolute path. It need not exist yet. */
export function cacheFolder(surroundings: Surroundings = here()): string {
  const { env, platform, home } = surroundings
  if (env.WEFTGRAD_CACHE_DIR) return resolve(env.WEFTGRAD_CACHE_DIR)
  if (platform === 'win32' && env.LOCALAPPDATA) return join(env.LOCALAPPDATA, 'weftgrad')
  if (platform === 'darwin' && home) return join(home, 'Library', 'Caches', 'weftgrad')
  const base = userCacheFolder(surroundings)
  return base === undefined ? join(tmpdir(), `weftgrad-${userName()}`) : join(base, 'weftgrad')
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

function userName(): string {
  try {
    return userInfo().username
  } catch {
    return String(process.getuid?.() ?? 'user')
  }
}
