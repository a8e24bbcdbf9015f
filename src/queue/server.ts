/** Starts a Redis or Valkey server of one's own, bound to this machine only, for trying queues and for tests. */
import { spawn } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { createConnection } from 'node:net'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { WeftgradError } from '../errors.ts'
import { cacheFolder } from '../gpu/node/cache.ts'
import { findServer, type ServerProgram } from './server-package.ts'

export interface ServeOptions {
  /** The port on 127.0.0.1. */
  readonly port: number
  /** Whether jobs survive a restart of the server. True by default. */
  readonly persistent?: boolean | undefined
  /** The server's program; `findServer` finds one by default. */
  readonly program?: ServerProgram | undefined
  /** The folder of its files; one in weftgrad's cache by default. */
  readonly folder?: string | undefined
  readonly log?: ((line: string) => void) | undefined
}

export interface QueueServer {
  readonly url: string
  readonly program: string
  readonly pid: number
  /** Resolves when the server has ended, for whatever reason. */
  readonly ended: Promise<void>
  /** Ends it; with `SIGKILL` as a crash would. */
  stop(signal?: NodeJS.Signals): Promise<void>
}

/** Starts a server and waits until it answers. Throws WeftgradError 'fetch' as `findServer`, 'queue' if it ends at once. */
export async function startServer(options: ServeOptions): Promise<QueueServer> {
  const { port, persistent = true, folder, log = () => undefined } = options
  const { path, libraries } = options.program ?? (await findServer(log))
  const dir = folder ?? join(cacheFolder(), 'queue-server', `data-${port}`)
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  const settings = {
    ...{ bind: '127.0.0.1', port: String(port), dir, save: '', daemonize: 'no', loglevel: 'warning' },
    // Jobs must never be dropped for lack of memory.
    'maxmemory-policy': 'noeviction',
    appendonly: persistent ? 'yes' : 'no',
    appendfsync: 'everysec',
  }
  const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value])
  const env = libraries === undefined ? process.env : { ...process.env, LD_LIBRARY_PATH: libraries }
  const child = spawn(path, args, { env, stdio: ['ignore', 'pipe', 'pipe'] })
  let said = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (text: Buffer) => {
      said = `${said}${text}`.slice(-2_000)
    })
  let isRunning = true
  const ended = new Promise<void>((resolve) => {
    const end = (): void => {
      isRunning = false
      resolve()
    }
    child.on('exit', end)
    child.on('error', (error) => {
      said += error.message
      end()
    })
  })
  while (isRunning && !(await answers(port))) await pause(20)
  if (!isRunning || child.pid === undefined)
    throw new WeftgradError(
      'queue',
      `The server ${path} does not start: ${said.trim().split('\n').at(-1) ?? ''}. Is port ${port} in use? Choose another with --port.`,
    )
  return {
    ...{ url: `redis://127.0.0.1:${port}`, program: path, pid: child.pid, ended },
    async stop(signal = 'SIGTERM') {
      if (isRunning) child.kill(signal)
      await ended
    },
  }
}

/** Whether a server at this port of 127.0.0.1 answers a ping. */
async function answers(port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = createConnection({ host: '127.0.0.1', port }, () => socket.write('PING\r\n'))
    const end = (result: boolean): void => {
      socket.destroy()
      resolve(result)
    }
    socket.setTimeout(1_000, () => end(false))
    socket.on('data', (bytes) => end(bytes.toString().startsWith('+PONG')))
    socket.on('error', () => end(false))
  })
}
