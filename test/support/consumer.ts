/** The package as users get it: built, packed, and installed by npm into an empty project outside the source tree. */
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { builtPackage } from './built-package.ts'

export interface Consumer {
  /** The project's folder. */
  readonly folder: string
  /** Runs a program in it and returns its standard output. If the exit code is not 0, throws with all output. */
  run(program: string, ...args: string[]): Promise<string>
  dispose(): Promise<void>
}

/** Programs of the clone's development dependencies. */
export const toolPath = (name: string): string => resolve('node_modules/.bin', name)

/** Creates a project with the package installed and with `files`, by name. */
export async function installPackage(files: Readonly<Record<string, string>>): Promise<Consumer> {
  const place = await realpath(await mkdtemp(join(tmpdir(), 'weftgrad-consumer-')))
  const folder = join(place, 'project')
  await mkdir(folder)
  const packing = ['pack', '--json', '--ignore-scripts', '--pack-destination', place]
  const [{ filename }] = JSON.parse(await run(await builtPackage(), 'npm', packing))
  const project = { name: 'consumer', private: true, type: 'module' }
  for (const [name, text] of Object.entries({ 'package.json': JSON.stringify(project), ...files }))
    await writeFile(join(folder, name), text)
  const quietly = ['--no-audit', '--no-fund', '--prefer-offline']
  await run(folder, 'npm', ['install', ...quietly, join(place, filename)])
  return {
    folder,
    run: (program, ...args) => run(folder, program, args),
    dispose: () => rm(place, { recursive: true, force: true }),
  }
}

function run(cwd: string, program: string, args: readonly string[]): Promise<string> {
  const env = { ...process.env, WEFTGRAD_TUNE: '0', FORCE_COLOR: '', NO_COLOR: '1' }
  return new Promise((done, fail) => {
    execFile(program, args, { cwd, env, maxBuffer: 2 ** 26 }, (error, stdout, stderr) => {
      if (error === null) done(stdout)
      else fail(new Error(`${program} ${args.join(' ')} failed (${error.code}):\n${stdout}\n${stderr}`))
    })
  })
}
