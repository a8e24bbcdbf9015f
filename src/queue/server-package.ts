/**
 * A Redis or Valkey server: one that is installed, or the release's package on Debian and Ubuntu, downloaded without root
 * into the cache. apt verifies signatures; `complete.json`, written last, holds the SHA-256 of every file, which is compared
 * before the server is started.
 */

import {
  accessSync,
  chmodSync,
  constants,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { delimiter, join, sep } from 'node:path'
import { WeftgradError } from '../errors.ts'
import { mostReadableBytes, readHostFile, readHostText } from '../format/host-file.node.ts'
import { isRecord, parsedJson } from '../format/json.ts'
import { sha256 } from '../format/sha256.node.ts'
import { openPrivateApt, readCodename } from '../gpu/node/apt.ts'
import { cacheFolder } from '../gpu/node/cache.ts'
import { requireTrusted } from '../gpu/node/trust.ts'

export interface ServerProgram {
  /** Absolute path of the program. */
  readonly path: string
  /** The folder of libraries that the system may lack. */
  readonly libraries?: string
}

const programs = ['valkey-server', 'redis-server']

const help =
  'Install one (Debian, Ubuntu: valkey or redis-server; Fedora: valkey; macOS: brew install valkey), or run it in a container: docker run -p 127.0.0.1:6379:6379 valkey/valkey:8'

/** The installed server; undefined if there is none. */
export function installedServer(path = process.env.PATH ?? ''): ServerProgram | undefined {
  const all = path.split(delimiter).flatMap((folder) => programs.map((name) => join(folder, name)))
  const found = all.find((one) => isExecutable(one))
  return found === undefined ? undefined : { path: found }
}

/**
 * An installed server, the one in the cache, or a downloaded one.
 * @throws WeftgradError 'fetch' if there is none and none can be downloaded: it says what to install.
 */
export async function findServer(log: (line: string) => void): Promise<ServerProgram> {
  const installed = installedServer()
  if (installed !== undefined) return installed
  const codename = readCodename()
  const refuse = (problem: string, cause?: unknown): WeftgradError =>
    new WeftgradError('fetch', `There is no Redis or Valkey server here, and ${problem}. ${help}.`, {}, cause)
  if (process.platform !== 'linux' || codename === undefined)
    throw refuse('weftgrad downloads one only on Debian and Ubuntu')
  const folder = join(cacheFolder(), 'queue-server', `${codename}-${process.arch}`)
  const cached = cachedServer(folder)
  if (cached !== undefined) return cached
  if (process.env.WEFTGRAD_NO_SETUP === '1') throw refuse('WEFTGRAD_NO_SETUP=1 forbids to download one')
  log(`weftgrad: downloading the server of queues (redis-server, 2 MB) to ${folder}.`)
  try {
    return await download(folder)
  } catch (error) {
    if (error instanceof WeftgradError) throw error
    throw refuse(`downloading one failed: ${error instanceof Error ? error.message.replace(/\.$/, '') : error}`, error)
  }
}

async function download(folder: string): Promise<ServerProgram> {
  const parent = join(folder, '..')
  mkdirSync(parent, { recursive: true, mode: 0o700 })
  requireTrusted(cacheFolder(), parent)
  const staging = mkdtempSync(join(parent, `staging-${process.pid}-`))
  try {
    const apt = await openPrivateApt(join(staging, 'apt'))
    const tree = join(staging, 'tree')
    const wanted = await apt.missing(['redis-server'])
    await apt.unpack(wanted, tree)
    const made = join(staging, 'made')
    mkdirSync(join(made, 'lib'), { recursive: true, mode: 0o700 })
    const files: [string, string][] = [['redis-server', join(tree, 'usr/bin/redis-server')], ...librariesIn(tree)]
    for (const [name, from] of files) {
      copyFileSync(from, join(made, name))
      chmodSync(join(made, name), name === 'redis-server' ? 0o700 : 0o600)
    }
    const sha256 = Object.fromEntries(files.map(([name]) => [name, sha256Of(join(made, name))]))
    writeFileSync(join(made, 'complete.json'), `${JSON.stringify({ sha256 }, null, 2)}\n`)
    rmSync(folder, { recursive: true, force: true })
    renameSync(made, folder)
  } catch (error) {
    // Another process may have been faster.
    if (cachedServer(folder) === undefined) throw error
  } finally {
    rmSync(staging, { recursive: true, force: true, maxRetries: 3 })
  }
  const server = cachedServer(folder)
  if (server === undefined) throw new Error(`${folder} changed while it was written`)
  return server
}

/** The server in the cache, if all its files are those that were installed. */
function cachedServer(folder: string): ServerProgram | undefined {
  const marker = join(folder, 'complete.json')
  const value = existsSync(marker) ? parsedJson(readHostText(marker)) : undefined
  if (!isRecord(value) || !isRecord(value.sha256)) return undefined
  requireTrusted(folder, ...Object.keys(value.sha256).map((name) => join(folder, name)))
  const isWhole = Object.entries(value.sha256).every(
    ([name, sha256]) => existsSync(join(folder, name)) && sha256Of(join(folder, name)) === sha256,
  )
  return isWhole ? { path: join(folder, 'redis-server'), libraries: join(folder, 'lib') } : undefined
}

/** The libraries in the unpacked packages, without links that lead out of them. */
function librariesIn(tree: string): [string, string][] {
  const root = realpathSync(tree) + sep
  return readdirSync(tree, { recursive: true, withFileTypes: true }).flatMap((entry): [string, string][] => {
    const path = join(entry.parentPath, entry.name)
    if (entry.isDirectory() || !/\.so(\.\d+)*$/.test(entry.name) || !existsSync(path)) return []
    const real = realpathSync(path)
    return real.startsWith(root) ? [[`lib/${entry.name}`, real]] : []
  })
}

function sha256Of(path: string): string {
  return sha256(readHostFile(path, mostReadableBytes))
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return statSync(path).isFile()
  } catch {
    return false
  }
}
