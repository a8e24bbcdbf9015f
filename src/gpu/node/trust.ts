/**
 * Checks, before native libraries or programs' configuration are used, that nobody else could have written them. On
 * POSIX systems, owner and mode tell; Windows keeps users' folders apart itself.
 */
import { realpathSync, type Stats, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { WeftgradError } from '../../errors.ts'

const writableByGroupOrOthers = 0o022
const writableByOthers = 0o002
/** In a folder with this bit (/tmp), only the owner of a file can replace it. */
const sticky = 0o1000

/**
 * The reason why the files or folders at these paths cannot be trusted; undefined if they can. Each must belong to this
 * user or to root and be writable by nobody else, and nobody else may be able to replace it.
 */
export function whyUntrusted(...paths: readonly string[]): string | undefined {
  const user = process.geteuid?.()
  if (user === undefined) return undefined
  for (const path of paths) {
    const own = factsOf(path)
    if (own === undefined) return `${path} is missing`
    if (own.uid !== user && own.uid !== 0) return `${path} belongs to another user (uid ${own.uid})`
    if ((own.mode & writableByGroupOrOthers) !== 0) return `${path} can be written by others (${modeText(own)})`
    // A link can be replaced in the folders of its name and in those of its target.
    for (const above of new Set([...foldersAbove(resolve(path)), ...foldersAbove(realpathSync(path))])) {
      const facts = factsOf(above)
      if (facts !== undefined && (facts.mode & writableByOthers) !== 0 && (facts.mode & sticky) === 0)
        return `${above} can be written by others (${modeText(facts)})`
    }
  }
  return undefined
}

/** Throws WeftgradError 'file' if a folder for code cannot be trusted. */
export function requireTrusted(...folders: readonly string[]): void {
  const why = whyUntrusted(...folders)
  if (why === undefined) return
  throw new WeftgradError(
    'file',
    `${why}, so no code is loaded from there. Make yourself its only owner and writer (chown, chmod go-w), or set WEFTGRAD_CACHE_DIR to another folder.`,
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
