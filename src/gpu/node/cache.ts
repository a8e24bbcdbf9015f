/**
 * The cache folder: drivers, data, weights, tuning results. It is never part of the user's project.
 * `WEFTGRAD_CACHE_DIR` names it; otherwise it follows the platform's convention. Native code is loaded from it, so only
 * its owner can access it, and it never has a guessable name in a folder that others can write.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { isAbsolute, join, resolve } from 'node:path'
import { WeftgradError } from '../../errors.ts'

/** The inputs to the folder's location; tests pass their own. */
export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly platform: NodeJS.Platform
  /** The home folder, or undefined if the user has none. */
  readonly home: string | undefined
}

/**
 * The cache folder. Created, if missing and possible, for this user only (mode 0700).
 * @throws WeftgradError 'file' with neither a home folder nor room for temporary files.
 */
export function cacheFolder(): string {
  const path = cachePath()
  if (path === undefined) return temporaryFolder()
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 })
  } catch {
    // Code that writes there will report the problem.
  }
  return path
}

let temporary: string | undefined

/** Without a home folder: a folder with a random name, for this process only. */
function temporaryFolder(): string {
  if (temporary !== undefined) return temporary
  const made = newFolderIn(tmpdir())
  temporary = made
  process.once('exit', () => rmSync(made, { recursive: true, force: true }))
  process.stderr.write(
    'weftgrad: there is no home folder, so downloads and caches last for this command only. ' +
      'Set WEFTGRAD_CACHE_DIR to a folder to keep them.\n',
  )
  return made
}

function newFolderIn(parent: string): string {
  try {
    return mkdtempSync(join(parent, 'weftgrad-'))
  } catch (error) {
    throw new WeftgradError(
      'file',
      `There is no home folder, and no folder for temporary files can be created in ${parent}. ` +
        'Set WEFTGRAD_CACHE_DIR to a folder that you can write to.',
      { parent },
      error,
    )
  }
}

/** The cache folder's absolute path; undefined with neither a home folder nor a variable that names one. */
export function cachePath(surroundings: Surroundings = here()): string | undefined {
  const { env, platform, home } = surroundings
  if (env.WEFTGRAD_CACHE_DIR) return resolve(env.WEFTGRAD_CACHE_DIR)
  if (platform === 'win32' && env.LOCALAPPDATA) return join(env.LOCALAPPDATA, 'weftgrad')
  if (platform === 'darwin' && home) return join(home, 'Library', 'Caches', 'weftgrad')
  const base = userCacheFolder(surroundings)
  return base === undefined ? undefined : join(base, 'weftgrad')
}

/** `$XDG_CACHE_HOME`, else `~/.cache`. Relative paths are ignored, as the XDG base directory specification requires. */
export function userCacheFolder({ env, home }: Surroundings = here()): string | undefined {
  if (env.XDG_CACHE_HOME && isAbsolute(env.XDG_CACHE_HOME)) return env.XDG_CACHE_HOME
  return home ? join(home, '.cache') : undefined
}

function here(): Surroundings {
  return { env: process.env, platform: process.platform, home: homeOrUndefined() }
}

/** `homedir()` throws for a user id without a passwd entry, which is common in containers. */
function homeOrUndefined(): string | undefined {
  try {
    return homedir() || undefined
  } catch {
    return undefined
  }
}
