/**
 * The package as its users get it: built, packed, and installed by npm into an empty project outside the tree. The build
 * goes to a folder of its own, so that `dist/` stays as it is.
 */
import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

export interface Consumer {
  /** The project's folder. */
  readonly folder: string
  /** Runs a program in it and returns its standard output. Throws with all output if the exit code is not 0. */
  run(program: string, ...args: string[]): Promise<string>
  dispose(): Promise<void>
}

/** Programs of the clone's development dependencies. */
export const toolPath = (name: string): string => resolve('node_modules/.bin', name)

/** The files of the package besides the build. */
const unbuilt = ['package.json', 'bin', 'README.md', 'CHANGELOG.md', 'LICENSE']

/** A project with the package installed and with `files`, by name. */
export async function installPackage(files: Readonly<Record<string, string>>): Promise<Consumer> {
  const place = await realpath(await mkdtemp(join(tmpdir(), 'weftgrad-consumer-')))
  const staged = join(place, 'package')
  const folder = join(place, 'project')
  await mkdir(staged)
  await mkdir(folder)
  await run(resolve('.'), toolPath('tsdown'), ['--out-dir', join(staged, 'dist'), '--logLevel', 'error'])
  for (const name of unbuilt) await cp(name, join(staged, name), { recursive: true })
  const [{ filename }] = JSON.parse(await run(staged, 'npm', ['pack', '--json', '--ignore-scripts']))
  const project = { name: 'consumer', private: true, type: 'module' }
  for (const [name, text] of Object.entries({ 'package.json': JSON.stringify(project), ...files }))
    await writeFile(join(folder, name), text)
  const quietly = ['--no-audit', '--no-fund', '--prefer-offline']
  await run(folder, 'npm', ['install', ...quietly, join(staged, filename)])
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
