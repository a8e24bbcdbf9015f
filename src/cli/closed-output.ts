/**
 * What happens when standard output or error cannot be written to any more: `weftgrad train ... | head -1`, a terminal
 * that was closed, a full disk. The command continues to its end, since a training is worth more than its words; but one whose
 * answer did not get out never exits with 0.
 */
import { colorsFor } from './terminal.ts'

/** As shells say of who writes to a pipe that nobody reads: 128 and SIGPIPE. */
const brokenPipe = 141

/** Watches both streams until the process ends, and then sets the exit code where it would be 0. */
export function watchOutputs(): void {
  let exitCode = 0
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (exitCode !== 0) return
    const isClosed = error.code === 'EPIPE'
    exitCode = isClosed ? brokenPipe : 1
    const what = isClosed ? 'was closed' : `cannot be written to (${error.message})`
    const { red } = colorsFor(process.stderr)
    process.stderr.write(
      `${red('weftgrad:')} standard output ${what}: the rest of the output is lost. The command itself continues to the end.\n`,
    )
  })
  // Notes are lost; there is no place left to say so.
  process.stderr.on('error', () => {})
  process.on('exit', (code) => {
    if (code === 0 && exitCode !== 0) process.exitCode = exitCode
  })
}
