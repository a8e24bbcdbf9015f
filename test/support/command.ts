/**
 * Runs the `weftgrad` command as a child process: by default that of the built package, which starts in a third of the
 * time.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { resolve } from 'node:path'
import { builtCommand } from './built-package.ts'

/** The command of the clone, which runs the sources. */
export const sourceCommand = resolve('bin/weftgrad.mjs')

export interface Outcome {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface CommandOptions {
  /** Added to this process' variables, and to those that fix kernels and colours. */
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  /** Receives standard output and error as they grow. */
  readonly during?: (text: string, child: ChildProcess) => void
  /** A program to run instead of the built command. */
  readonly program?: string
}

export async function runCommand(
  args: readonly string[],
  { env = {}, cwd, during, program }: CommandOptions = {},
): Promise<Outcome> {
  const child = spawn(process.execPath, [program ?? (await builtCommand()), ...args], {
    env: { ...process.env, WEFTGRAD_TUNE: '0', FORCE_COLOR: '', NO_COLOR: '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(cwd === undefined ? {} : { cwd }),
  })
  const told = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      told[name] += text
      during?.(told.stdout + told.stderr, child)
    })
  }
  return new Promise((done, fail) => {
    child.on('error', fail)
    child.on('close', (code) => done({ code, ...told }))
  })
}
