/**
 * Turns an error into a message and an exit code: 2 for bad arguments, the signal's (129, 130, 143) after a stop, 1 for
 * everything else. Errors that weftgrad throws on purpose print one sentence; WEFTGRAD_DEBUG=1 adds the stack trace.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { CommanderError } from 'commander'
import { WeftgradError } from '../errors.ts'
import { printable } from '../printable.ts'
import { runFiles, shown } from '../runs/run-folder.node.ts'
import type { Interruptible } from './interrupt.ts'
import { colorsFor, shownLines } from './shown.ts'
import type { Terminal } from './terminal.ts'

/**
 * The exit code of a command that ended with an error: the signal's if the user stopped it, else `reportFailure`'s.
 * @param onStopped receives the message about the stop, which is not a failure.
 */
export function exitCodeAfter(
  error: unknown,
  { exitCode }: Interruptible,
  onStopped?: (message: string) => void,
): number {
  const wasStopped = error instanceof WeftgradError && error.code === 'aborted' && exitCode !== undefined
  if (!wasStopped) return reportFailure(error)
  onStopped?.(error.message)
  return exitCode
}

/**
 * Errors after which resuming cannot help: the same numbers, settings or data fail again, or another process took the
 * run over.
 */
const inVain = ['not-finite', 'argument', 'mismatch', 'data', 'lock-lost']

/** Says how to resume a run after an error, if the run still exists and resuming may help. */
export function sayHowToResume(error: unknown, command: string, folder: string | undefined, terminal: Terminal): void {
  if (!(error instanceof WeftgradError) || inVain.includes(error.code)) return
  if (folder === undefined || !existsSync(join(folder, runFiles.config))) return
  terminal.warn(`Resume with:  npx weftgrad ${command} --resume ${quoted(shown(folder))}`)
}

/** The path, quoted for a shell. */
function quoted(path: string): string {
  return /^[\w./:@%+=-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`
}

/** Prints the error to standard error. */
export function reportFailure(error: unknown): number {
  // Commander has already printed its own message or the help.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
  const colors = colorsFor(process.stderr)
  const { red } = colors
  const print = (text: string): void => void process.stderr.write(`${shownLines(text, colors)}\n`)
  const debug = process.env.WEFTGRAD_DEBUG === '1'
  if (error instanceof WeftgradError) {
    print(`${red('weftgrad:')} ${error.message}`)
  } else {
    const message = error instanceof Error ? error.message : String(error)
    const how = debug ? '' : ' (a bug in weftgrad; WEFTGRAD_DEBUG=1 shows where)'
    print(`${red('weftgrad:')} ${printable(message, 2000)}${how}`)
  }
  if (debug && error instanceof Error) print(stackOf(error))
  return error instanceof WeftgradError && error.code === 'argument' ? 2 : 1
}

function stackOf(error: Error): string {
  const own = error.stack ?? error.message
  return error.cause instanceof Error ? `${own}\nbecause of: ${stackOf(error.cause)}` : own
}
