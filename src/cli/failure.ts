/**
 * From an error to words and an exit code: 2 for bad arguments, 130 and 143 for SIGINT and SIGTERM, 1 for everything else.
 * Errors that weftgrad throws on purpose are one sentence; WEFTGRAD_DEBUG=1 adds the stack of any error.
 */
import { CommanderError } from 'commander'
import { WeftgradError } from '../errors.ts'
import { printable } from '../printable.ts'
import type { Interruptible } from './interrupt.ts'
import { colorsFor, shownLines } from './terminal.ts'

/**
 * The exit code of a command that an error ended: the signal's where the user stopped it, else `reportFailure`'s.
 * @param onStopped gets the sentence about the stop, which is no failure.
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

/** Prints what went wrong to standard error. */
export function reportFailure(error: unknown): number {
  // Commander has printed its own sentence, or the help that was asked for.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
  const colors = colorsFor(process.stderr)
  const { red } = colors
  const print = (text: string): void => void process.stderr.write(`${shownLines(text, colors)}\n`)
  const debug = process.env.WEFTGRAD_DEBUG === '1'
  if (error instanceof WeftgradError) {
    print(`${red('weftgrad:')} ${error.message}`)
  } else {
    const message = error instanceof Error ? error.message : String(error)
    const how = debug ? '' : ' (a mistake in weftgrad; WEFTGRAD_DEBUG=1 shows where)'
    print(`${red('weftgrad:')} ${printable(message, 2000)}${how}`)
  }
  if (debug && error instanceof Error) print(stackOf(error))
  return error instanceof WeftgradError && error.code === 'argument' ? 2 : 1
}

function stackOf(error: Error): string {
  const own = error.stack ?? error.message
  return error.cause instanceof Error ? `${own}\nbecause of: ${stackOf(error.cause)}` : own
}
