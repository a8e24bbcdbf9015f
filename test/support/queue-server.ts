/** A Redis or Valkey server for tests, and what can go wrong between it and its clients. */
import { rm } from 'node:fs/promises'
import { type AddressInfo, createConnection, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type QueueServer, startServer } from '../../src/queue/server.ts'
import { findServer, type ServerProgram } from '../../src/queue/server-package.ts'

let program: ServerProgram | undefined

/** Why tests cannot have a server; undefined if they can. Downloads one if none is installed. */
export async function whyNoServer(): Promise<string | undefined> {
  try {
    program = await findServer((line) => console.warn(line))
    return undefined
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

/** A port of 127.0.0.1 that nobody listens on. */
export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** A server in a folder for temporary files, which can be started again at its port. */
export class TestServer {
  readonly port: number
  readonly #folder: string
  #server: QueueServer | undefined

  private constructor(port: number) {
    this.port = port
    this.#folder = join(tmpdir(), `weftgrad-queue-${process.pid}-${port}`)
  }

  static async start(persistent = false): Promise<TestServer> {
    const server = new TestServer(await freePort())
    await server.again(persistent)
    return server
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`
  }

  async again(persistent = false): Promise<void> {
    this.#server = await startServer({ port: this.port, persistent, program, folder: this.#folder })
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    await this.#server?.stop(signal)
  }

  async end(): Promise<void> {
    await this.stop('SIGKILL')
    await rm(this.#folder, { recursive: true, force: true })
  }
}

/** A proxy in front of a port that can cut all connections, and refuse new ones. */
export class TcpProxy {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #isCut = false

  private constructor(target: number) {
    this.#server = createServer((socket) => {
      if (this.#isCut) {
        socket.destroy()
        return
      }
      const onward = createConnection({ host: '127.0.0.1', port: target })
      for (const one of [socket, onward]) {
        this.#sockets.add(one)
        one.on('error', () => undefined)
        one.on('close', () => {
          socket.destroy()
          onward.destroy()
          this.#sockets.delete(one)
        })
      }
      socket.pipe(onward)
      onward.pipe(socket)
    })
  }

  static async before(target: number): Promise<TcpProxy> {
    const proxy = new TcpProxy(target)
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve))
    return proxy
  }

  get url(): string {
    return `redis://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  cut(): void {
    this.#isCut = true
    for (const socket of this.#sockets) socket.destroy()
  }

  mend(): void {
    this.#isCut = false
  }

  async end(): Promise<void> {
    this.cut()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}
