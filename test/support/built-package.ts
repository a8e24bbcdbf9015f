/**
 * The package as published, built once for each state of the sources. Tests that need the build, or the command without
 * the time to compile the sources, share it, also across runs. `dist/` is not changed.
 */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { cp, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { promisify } from 'node:util'

/** The files of the package that are not built. */
const unbuilt = ['package.json', 'bin', 'README.md', 'CHANGELOG.md', 'LICENSE']
/** The inputs of the build. */
const sources = ['src', 'scripts', 'package-lock.json', 'tsconfig.json', 'tsdown.config.ts', ...unbuilt]

/** Inside node_modules, so that the package finds its dependencies and a new installation starts without it. */
const builds = resolve('node_modules/.cache/weftgrad-build')

let built: Promise<string> | undefined

/** The folder of the built package. */
export function builtPackage(): Promise<string> {
  built ??= findOrBuild()
  return built
}

/** The program of the built `weftgrad` command. */
export async function builtCommand(): Promise<string> {
  return join(await builtPackage(), 'bin/weftgrad.mjs')
}

async function findOrBuild(): Promise<string> {
  const folder = join(builds, await fingerprint())
  const lock = `${folder}.lock`
  await mkdir(builds, { recursive: true })
  while (!existsSync(folder)) {
    if (!(await claimed(lock))) {
      await pause(100)
      continue
    }
    try {
      if (!existsSync(folder)) await build(folder)
    } finally {
      await rm(lock, { force: true })
    }
  }
  return folder
}

/** Never leaves an incomplete build under the folder's name. Removes builds of other states of the sources. */
async function build(folder: string): Promise<void> {
  for (const name of await readdir(builds))
    if (!name.endsWith('.lock')) await rm(join(builds, name), { recursive: true, force: true })
  const staged = await mkdtemp(join(builds, 'staged-'))
  const tsdown = resolve('node_modules/.bin/tsdown')
  await promisify(execFile)(tsdown, ['--out-dir', join(staged, 'dist'), '--logLevel', 'error'])
  for (const name of unbuilt) await cp(name, join(staged, name), { recursive: true })
  await rename(staged, folder)
}

/** Whether this process may build. A lock of a process that has ended does not count. */
async function claimed(lock: string): Promise<boolean> {
  try {
    await writeFile(lock, String(process.pid), { flag: 'wx' })
    return true
  } catch {
    const holder = Number(await readFile(lock, 'utf8').catch(() => ''))
    if (holder > 0 && !isRunning(holder)) await rm(lock, { force: true })
    return false
  }
}

function isRunning(id: number): boolean {
  try {
    return process.kill(id, 0)
  } catch {
    return false
  }
}

/** A hash of everything that the build depends on. */
async function fingerprint(): Promise<string> {
  const hash = createHash('sha256')
  for (const source of sources) {
    const inside = await readdir(source, { recursive: true, withFileTypes: true }).catch(() => undefined)
    const files = inside?.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
    for (const file of (files ?? [source]).sort()) hash.update(`${file}\0`).update(await readFile(file))
  }
  return hash.digest('hex').slice(0, 16)
}
