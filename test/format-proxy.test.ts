/** Downloads through the proxies that the environment names. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo, createServer as createTcpServer, connect as dial, type Server } from 'node:net'
import { resolve } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { proxiesIn } from '../src/format/proxy.node.ts'

describe('the proxies of an environment', () => {
  const [a, b, c] = ['http://a:1', 'http://b:2', 'http://c:3']

  it.each([
    ['none', {}, undefined, undefined],
    ['one for each protocol', { HTTP_PROXY: a, HTTPS_PROXY: b, ALL_PROXY: c }, a, b],
    ['one for http alone, taken for https too', { http_proxy: a }, a, a],
    ['one for https alone', { https_proxy: b }, undefined, b],
    ['one for all', { ALL_PROXY: c }, c, c],
    ['one for all but http', { HTTP_PROXY: a, all_proxy: c }, a, c],
    ['lower case before upper case', { http_proxy: a, HTTP_PROXY: b }, a, a],
    ['empty ones', { http_proxy: '', HTTP_PROXY: a, https_proxy: '', ALL_PROXY: '' }, a, a],
    ['addresses without a protocol', { HTTPS_PROXY: 'proxy.example:3128' }, undefined, 'http://proxy.example:3128'],
    ['SOCKS 5 that resolves names', { ALL_PROXY: 'socks5h://a:1080' }, 'socks5://a:1080', 'socks5://a:1080'],
  ])('can be %s', (_, env, httpProxy, httpsProxy) => {
    expect(proxiesIn(env)).toEqual({ httpProxy, httpsProxy })
  })

  it.each(['socks4://a:1', 'ftp://user:secret@a', 'http://', 'http://a:port', 'a b'])('cannot be %s', (value) => {
    const refusal = {
      code: 'argument',
      message: expect.stringMatching(/^The environment variable all_proxy (?!.*secret)/),
    }
    expect(() => proxiesIn({ all_proxy: value })).toThrow(expect.objectContaining(refusal))
  })
})

describe('a download', () => {
  const seen: string[] = []
  const origin = createServer((_, response) => void response.end('from the server'))
  const httpProxy = createServer((request, response) => {
    seen.push(request.url ?? '')
    response.end('from the proxy')
  })
  /** Greets without a password and connects to what is asked for: RFC 1928. */
  const socksProxy = createTcpServer((client) => {
    client.on('error', () => client.destroy())
    client.once('data', () => {
      client.write(Uint8Array.of(5, 0))
      client.once('data', (request) => {
        const port = request.readUInt16BE(request.length - 2)
        seen.push(`socks ${port}`)
        const target = dial(port, '127.0.0.1', () => {
          client.write(Uint8Array.of(5, 0, 0, 1, 127, 0, 0, 1, 0, 0))
          client.pipe(target).pipe(client)
        })
        target.on('error', () => client.destroy())
      })
    })
  })
  const servers: readonly Server[] = [origin, httpProxy, socksProxy]
  const portOf = (server: Server): number => (server.address() as AddressInfo).port

  beforeAll(async () => {
    for (const server of servers) await once(server.listen(0, '127.0.0.1'), 'listening')
  })
  afterAll(() => {
    for (const server of [origin, httpProxy]) server.closeAllConnections()
    for (const server of servers) server.close()
  })

  const script = `
    import { proxiedFetch } from ${JSON.stringify(resolve('src/format/proxy.node.ts'))}
    const fetch = await proxiedFetch()
    process.stdout.write(await (await fetch(process.argv[1])).text())
    process.exit()
  `
  /** In a process of its own: undici reads NO_PROXY there. */
  async function fetched(env: NodeJS.ProcessEnv): Promise<string> {
    const bare = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/_proxy$/i.test(name)))
    const args = ['--import', 'tsx', '--input-type=module', '-e', script, `http://127.0.0.1:${portOf(origin)}/file`]
    const child = spawn(process.execPath, args, { env: { ...bare, ...env }, stdio: ['ignore', 'pipe', 'ignore'] })
    return await text(child.stdout)
  }

  it.each(['http_proxy', 'ALL_PROXY'])('uses the proxy in %s, except for excluded hosts', async (name) => {
    seen.length = 0
    const proxy = { [name]: `127.0.0.1:${portOf(httpProxy)}` }
    expect(await fetched(proxy)).toBe('from the proxy')
    expect(await fetched({ ...proxy, no_proxy: '127.0.0.1' })).toBe('from the server')
    expect(seen).toEqual([`http://127.0.0.1:${portOf(origin)}/file`])
  })

  it('goes through a SOCKS 5 proxy', async () => {
    seen.length = 0
    expect(await fetched({ ALL_PROXY: `socks5h://127.0.0.1:${portOf(socksProxy)}` })).toBe('from the server')
    expect(seen).toEqual([`socks ${portOf(origin)}`])
  })
})
