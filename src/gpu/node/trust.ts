/**
 * Who else could have written what is about to be run: native libraries, and the configuration of programs. POSIX systems
 * say so by owner and mode; Windows keeps folders of users apart by itself.
 */
import { realpathSync, type Stats, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { WeftgradError } from '../../errors.ts'

const writableByGroupOrOthers = 0o022
const writableByOthers = 0o002
/** In such a folder (/tmp) only the owner of a file can replace it. */
const sticky = 0o1000

/**
 * Why the files or folders at these paths cannot be trusted; undefined where they can. Each has to belong to this user or
 * to root and to be writable by nobody else, and nobody else may be able to put another in its place.
 */
export function whyUntrusted(...paths: readonly string[]): string | undefined {
  const user = process.geteuid?.()
  if (user === undefined) return undefined
  for (const path of paths) {
    const own = factsOf(path)
    if (own === undefined) return `${path} is missing`
    if (own.uid !== user && own.uid !== 0) return `${path} belongs to another user (uid ${own.uid})`
    if ((own.mode & writableByGroupOrOthers) !== 0) return `${path} can be written by others (${modeText(own)})`
    // Above a link stand the folders of its name and those of what it leads to.
    for (const above of new Set([...foldersAbove(resolve(path)), ...foldersAbove(realpathSync(path))])) {
      const facts = factsOf(above)
      if (facts !== undefined && (facts.mode & writableByOthers) !== 0 && (facts.mode & sticky) === 0)
        return `${above} can be written by others (${modeText(facts)})`
    }
  }
  return undefined
}

/** Throws WeftgradError 'file' where a folder that code is to be kept in cannot be trusted. */
export function requireTrusted(...folders: readonly string[]): void {
  const why = whyUntrusted(...folders)
  if (why === undefined) return
  throw new WeftgradError(
    'file',
    `${why}, so no code is run from there. Make it yours alone (chown, chmod go-w), or name another folder by WEFTGRAD_CACHE_DIR.`,
    { folders },
  )
}

function foldersAbove(path: string): string[] {
  const above = dirname(path)
  return above === path ? [] : [above, ...foldersAbove(above)]
}

function factsOf(path: string): Stats | undefined {
  return statSync(path, { throwIfNoEntry: false })
}

function modeText({ mode }: Stats): string {
  return `mode ${(mode & 0o7777).toString(8)}`
}
