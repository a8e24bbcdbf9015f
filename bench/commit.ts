/** The commit of the running sources, so that figures can be traced to it. */

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

/** The commit of a bundle, set when it is built: a bundle has no repository. */
declare const bundledCommit: string | undefined

/** The commit of this working tree, with a `+` if it has changes; undefined outside a repository. */
export async function workingCommit(): Promise<string | undefined> {
  if (typeof bundledCommit === 'string') return bundledCommit
  const git = async (...args: string[]): Promise<string> =>
    (await promisify(execFile)('git', args, { cwd: import.meta.dirname })).stdout.trim()
  try {
    const commit = await git('rev-parse', '--short=12', 'HEAD')
    return (await git('status', '--porcelain')) === '' ? commit : `${commit}+`
  } catch {
    return undefined
  }
}
