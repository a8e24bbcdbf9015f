/** The commit of the running sources, so that figures can be traced to it. */

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

/** The commit of a bundle, set when it is built: a bundle has no repository. */
declare const bundledCommit: string | undefined

/** What git prints in a folder. Throws if it fails. */
export async function git(folder: string, ...args: readonly string[]): Promise<string> {
  return (await promisify(execFile)('git', args, { cwd: folder })).stdout.trim()
}

/** The commit of this working tree, with a `+` if it has changes; undefined outside a repository. */
export async function workingCommit(): Promise<string | undefined> {
  if (typeof bundledCommit === 'string') return bundledCommit
  try {
    const commit = await git(import.meta.dirname, 'rev-parse', '--short=12', 'HEAD')
    return (await git(import.meta.dirname, 'status', '--porcelain')) === '' ? commit : `${commit}+`
  } catch {
    return undefined
  }
}
