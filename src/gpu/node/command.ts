/**
 * Runs a system program and turns every failure into one short reason.
 */
import { execFile } from 'node:child_process'

export interface CommandResult {
  readonly stdout: string
  readonly stderr: string
}

/** `message` is a reason that fits after a colon, such as `apt-get update failed (E: ...)`. */
export class CommandFailed extends Error {
  readonly kind: 'missing' | 'timeout' | 'failed'
  constructor(kind: CommandFailed['kind'], message: string) {
    super(message)
    this.name = 'CommandFailed'
    this.kind = kind
  }
}

/** 10 minutes: enough for 60 MB at 1 Mbit/s. apt gives up on a silent server much earlier. */
const TIMEOUT_MS = 600_000

/** Runs `program` with English messages and resolves to its output. Throws CommandFailed. */
export function runCommand(program: string, args: readonly string[], folder: string): Promise<CommandResult> {
  const verb = args.find((arg) => /^-x$|^[a-z]/.test(arg) && !arg.includes('/')) ?? ''
  const name = `${program} ${verb}`.trim()
  const options = {
    cwd: folder,
    timeout: TIMEOUT_MS,
    maxBuffer: 64 * 1024 * 1024,
    env: { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' },
  }
  return new Promise((resolve, reject) => {
    execFile(program, [...args], options, (error, stdout, stderr) => {
      if (error === null) resolve({ stdout, stderr })
      else if (error.code === 'ENOENT') reject(new CommandFailed('missing', `there is no ${program} here`))
      else if (error.killed)
        reject(new CommandFailed('timeout', `${name} took longer than ${TIMEOUT_MS / 60_000} minutes`))
      else reject(new CommandFailed('failed', `${name} failed (${reasonIn(stderr) ?? `exit code ${error.code}`})`))
    })
  })
}

/** The line with the reason: apt's first `E:` line, else its first `W:` line, else the last line. */
export function reasonIn(stderr: string): string | undefined {
  const lines = stderr
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
  return lines.find((line) => line.startsWith('E:')) ?? lines.find((line) => line.startsWith('W:')) ?? lines.at(-1)
}
