/** Which sources are running, so that a figure can be traced to them. */

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

/** A bundle has no repository: its commit is put in here when it is made. */
declare const bundledCommit: string | undefined

/** The commit of this working tree, with a `+` where files were changed; undefined outside a repository. */
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
