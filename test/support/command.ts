/** The `weftgrad` command as a child process. */
import { type ChildProcess, spawn } from 'node:child_process'
import { resolve } from 'node:path'

export const commandPath = resolve('bin/weftgrad.mjs')

export interface Outcome {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface CommandOptions {
  /** Added to this process' variables, and to those that fix kernels and colours. */
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  /** Sees standard output and error as they grow. */
  readonly during?: (text: string, child: ChildProcess) => void
}

export function runCommand(args: readonly string[], { env = {}, cwd, during }: CommandOptions = {}): Promise<Outcome> {
  const child = spawn(process.execPath, [commandPath, ...args], {
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
