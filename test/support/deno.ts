/** Runs programs under Deno, whose WebGPU is wgpu. */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { findAdapter } from '../../src/gpu/node/adapter.ts'
import { cachedDriver } from '../../src/gpu/node/provision.ts'

const folder = resolve('node_modules/deno')
const program = join(folder, process.platform === 'win32' ? 'deno.exe' : 'deno')

/** Why tests under Deno are skipped; undefined if they run. */
export function whyNoDeno(): string | undefined {
  if (process.env.WEFTGRAD_TEST_FULL !== '1')
    return 'The tests under Deno are skipped: they take minutes. `npm run test:full` runs them.'
  return existsSync(program)
    ? undefined
    : `The tests under Deno are skipped: ${program} is missing, because the install script of npm package deno did not run.`
}

/** The environment in which wgpu finds the driver that Node.js uses here. */
async function driverEnvironment(): Promise<Record<string, string>> {
  const { source } = await findAdapter()
  const cached = cachedDriver()
  if (source !== 'provisioned' || cached.state !== 'whole') return {}
  const { icd } = cached.driver
  return { VK_DRIVER_FILES: icd, VK_ICD_FILENAMES: icd, LD_LIBRARY_PATH: join(dirname(icd), 'lib') }
}

export interface DenoOutcome {
  readonly code: number | null
  readonly stderr: string
}

/** Runs a program that may read files, and nothing else. `onLine` receives each line of its standard output. */
export async function runDeno(path: string, onLine: (line: string) => void): Promise<DenoOutcome> {
  const cache = await mkdtemp(join(tmpdir(), 'weftgrad-deno-'))
  try {
    const own = { DENO_DIR: cache, DENO_NO_UPDATE_CHECK: '1', NO_COLOR: '1' }
    const child = spawn(
      program,
      [
        'run',
        '--no-lock',
        '--no-prompt',
        '--no-remote',
        '--allow-read',
        '--import-map=test/deno/import-map.json',
        path,
      ],
      { env: { ...process.env, ...(await driverEnvironment()), ...own }, stdio: ['ignore', 'pipe', 'pipe'] },
    )
    let rest = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) onLine(line)
    })
    let stderr = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text
    })
    const code = await new Promise<number | null>((done, fail) => {
      child.on('error', fail)
      child.on('close', done)
    })
    return { code, stderr }
  } finally {
    await rm(cache, { recursive: true, force: true })
  }
}
