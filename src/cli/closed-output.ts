/**
 * Handles standard output or error that can no longer be written to: `weftgrad train ... | head -1`, a closed terminal,
 * a full disk. The command runs to its end, since a training is worth more than its output. If the result could not be
 * printed, the exit code is never 0.
 */
import { colorsFor } from './shown.ts'

/** The exit code that shells use for a broken pipe: 128 plus SIGPIPE. */
const brokenPipe = 141

/** Watches both streams until the process ends. If writing failed, replaces exit code 0 then. */
export function watchOutputs(): void {
  let exitCode = 0
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (exitCode !== 0) return
    const isClosed = error.code === 'EPIPE'
    exitCode = isClosed ? brokenPipe : 1
    const what = isClosed ? 'was closed' : `cannot be written to (${error.message})`
    const { red } = colorsFor(process.stderr)
    process.stderr.write(
      `${red('weftgrad:')} standard output ${what}: the rest of the output is lost, but the command keeps running.\n`,
    )
  })
  // Notes are lost, and no stream is left to report that.
  process.stderr.on('error', () => {})
  process.on('exit', (code) => {
    if (code === 0 && exitCode !== 0) process.exitCode = exitCode
  })
}
