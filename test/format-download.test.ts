import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type DownloadOptions, download } from '../src/format/download.ts'

let server: Server
let base = ''
beforeAll(async () => {
  server = createServer((request, response) => {
    switch (request.url) {
      case '/good':
        response.end(Buffer.alloc(100_000, 7))
        break
      case '/endless':
        response.on('error', () => {})
        response.write(Buffer.alloc(50_000))
        setInterval(() => response.write(Buffer.alloc(50_000)), 1).unref()
        break
      case '/stalling':
        response.writeHead(200, { 'content-length': '1000' })
        response.write(Buffer.alloc(10))
        break
      case '/cut':
        response.writeHead(200, { 'content-length': '1000' })
        response.write(Buffer.alloc(10), () => response.destroy())
        break
      case '/silent':
        break
      default:
        response.writeHead(404).end('no')
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(() => {
  server.closeAllConnections()
  server.close()
})

async function collect(path: string, options: Partial<DownloadOptions> = {}): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  for await (const chunk of download(base + path, { maxBytes: 200_000, ...options })) chunks.push(chunk)
  return Buffer.concat(chunks)
}

const refused = (part: string) => ({ code: 'fetch', message: expect.stringContaining(part) })

describe('download', () => {
  it('yields the body and its progress', async () => {
    const progress: [number, number | undefined][] = []
    const body = await collect('/good', { onProgress: (received, total) => progress.push([received, total]) })
    expect(body).toHaveLength(100_000)
    expect(body.every((byte) => byte === 7)).toBe(true)
    expect(progress.at(-1)).toEqual([100_000, 100_000])
  })

  it('refuses an error, and a body that is too long or too short', async () => {
    await expect(collect('/missing')).rejects.toMatchObject(refused('404'))
    await expect(collect('/good', { maxBytes: 99_999 })).rejects.toMatchObject(refused('has 100000 bytes'))
    await expect(collect('/endless')).rejects.toMatchObject(refused('more than the expected 200000'))
    await expect(collect('/cut')).rejects.toMatchObject({ code: 'fetch' })
  })

  it('gives up on servers that do not answer or stall', async () => {
    await expect(collect('/silent', { answerMs: 50 })).rejects.toMatchObject(refused('no answer within 0.05 s'))
    await expect(collect('/stalling', { stallMs: 50 })).rejects.toMatchObject(refused('after 10 bytes'))
  })

  it('says why a server cannot be reached', async () => {
    const iterator = download('http://127.0.0.1:1/', { maxBytes: 1 })
    await expect(iterator.next()).rejects.toMatchObject({ code: 'fetch' })
  })

  it('stops when the signal fires', async () => {
    const controller = new AbortController()
    const pending = collect('/stalling', { signal: controller.signal })
    setTimeout(() => controller.abort(), 30)
    await expect(pending).rejects.toMatchObject({ code: 'aborted' })
    await expect(collect('/good', { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'aborted' })
  })
})
