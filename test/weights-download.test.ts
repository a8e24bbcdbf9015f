/** Downloads of published files from a local server that works, hangs up, stalls, or sends something else. */
import { createHash } from 'node:crypto'
import { type FileHandle, mkdir, mkdtemp, open, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { sweepCache } from '../src/gpu/node/leftovers.ts'
import { downloadFile } from '../src/weights/download.node.ts'
import type { PublishedFile } from '../src/weights/zoo.ts'

const content = Buffer.alloc(300_000, 'the published bytes, ')
const otherContent = Buffer.alloc(300_000, 'bytes of another file, ')
const md5 = createHash('md5').update(content).digest('hex')

type Answer = (request: IncomingMessage, response: ServerResponse) => void

/** One answer per request; the last one repeats. */
let answers: Answer[] = []
let requests: { readonly range: string | undefined }[] = []
const server = createServer((request, response) => {
  requests.push({ range: request.headers.range })
  const [answer] = answers.length > 1 ? answers.splice(0, 1) : answers
  answer?.(request, response)
})
let base = ''
let folder = ''
beforeAll(async () => {
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(() => {
  server.closeAllConnections()
  server.close()
})
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'weftgrad-download-'))
  requests = []
})
afterEach(() => rm(folder, { recursive: true }))

const published = (changes: Partial<PublishedFile> = {}): PublishedFile => ({
  name: 'net.h5',
  url: `${base}/net.h5`,
  checksum: md5,
  bytes: content.length,
  ...changes,
})

/** Sends the file, or the requested part. */
const whole =
  (bytes = content): Answer =>
  (request, response) => {
    const first = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0)
    if (first >= bytes.length) return void response.writeHead(416, { 'content-range': `bytes */${bytes.length}` }).end()
    const headers = { 'content-length': bytes.length - first }
    if (first === 0) response.writeHead(200, headers)
    else response.writeHead(206, { ...headers, 'content-range': `bytes ${first}-${bytes.length - 1}/${bytes.length}` })
    response.end(bytes.subarray(first))
  }

const ignoringRange: Answer = (_, response) =>
  void response.writeHead(200, { 'content-length': content.length }).end(content)

/** Promises all bytes, sends some, and then hangs up or stalls. */
const broken =
  (bytes: number, end: 'hang up' | 'stall'): Answer =>
  (_, response) => {
    response.writeHead(200, { 'content-length': content.length })
    response.write(content.subarray(0, bytes), () => end === 'hang up' && setTimeout(() => response.destroy(), 20))
  }

/** Sends a body without giving its length. */
const ofNoLength =
  (bytes: Buffer): Answer =>
  (_, response) => {
    response.write(bytes)
    response.end()
  }

/** Runs the download until it is interrupted. */
async function breakOff(bytes = 100_000): Promise<void> {
  const before = answers
  answers = [broken(bytes, 'hang up')]
  await expect(downloadFile(published(), folder)).rejects.toMatchObject({ code: 'fetch' })
  answers = before
  requests = []
}

/** Compares the bytes; `toEqual` takes a second for this many. */
const isWhole = async (path = join(folder, 'net.h5')): Promise<boolean> => content.equals(await readFile(path))

const filesThere = async (): Promise<string[]> => (await readdir(folder)).sort()

describe('a download', () => {
  it('becomes a file with the published bytes, and reports progress', async () => {
    answers = [whole()]
    const progress: [number, number | undefined][] = []
    const path = await downloadFile(published(), join(folder, 'new', 'folder'), {
      onProgress: (received, total) => progress.push([received, total]),
    })
    expect(path).toBe(join(folder, 'new', 'folder', 'net.h5'))
    expect(await isWhole(path)).toBe(true)
    expect(await readdir(join(folder, 'new', 'folder'))).toEqual(['net.h5'])
    expect(progress.at(-1)).toEqual([content.length, content.length])
  })

  it('replaces a damaged file of the same name', async () => {
    answers = [whole()]
    await writeFile(join(folder, 'net.h5'), 'damaged')
    await downloadFile(published(), folder)
    expect(await isWhole()).toBe(true)
  })

  it('refuses a file with another MD5, and leaves nothing behind', async () => {
    answers = [whole(otherContent)]
    await expect(downloadFile(published(), folder)).rejects.toMatchObject({
      code: 'checksum',
      message: expect.stringContaining(md5),
    })
    expect(requests).toHaveLength(1)
    expect(await filesThere()).toEqual([])
  })

  it('refuses a file of another length before it receives it', async () => {
    answers = [whole(content.subarray(0, 2000))]
    await expect(downloadFile(published(), folder)).rejects.toMatchObject({
      code: 'fetch',
      message: expect.stringContaining('has 2000 bytes, the published file 300000'),
    })
    expect(await filesThere()).toEqual([])
  })

  it("reports the server's answer, and leaves nothing behind", async () => {
    answers = [(_, response) => void response.writeHead(404).end('no')]
    await expect(downloadFile(published(), folder)).rejects.toMatchObject({
      code: 'fetch',
      message: expect.stringContaining('404'),
    })
    expect(await filesThere()).toEqual([])
  })

  it('is removed again when the disk is full', async () => {
    answers = [whole()]
    const handle = await open(join(folder, 'any'), 'w')
    const prototype: FileHandle = Object.getPrototypeOf(handle)
    await handle.close()
    await rm(join(folder, 'any'))
    const full = Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' })
    const write = prototype.write
    let written = 0
    const spy = vi.spyOn(prototype, 'write').mockImplementation(function (this: FileHandle, ...given) {
      written += 1
      return written > 2 ? Promise.reject(full) : Reflect.apply(write, this, given)
    })
    try {
      await expect(downloadFile(published(), folder)).rejects.toMatchObject({
        code: 'file',
        message: expect.stringContaining('net.h5 could not be written: the disk is full'),
      })
    } finally {
      spy.mockRestore()
    }
    expect(written).toBeGreaterThan(2)
    expect(await filesThere()).toEqual([])
  })

  it('keeps what it has received when the signal fires', async () => {
    answers = [broken(100_000, 'stall'), whole()]
    const controller = new AbortController()
    const onProgress = (received: number): void => {
      if (received === 100_000) controller.abort()
    }
    const stopped = downloadFile(published(), folder, { signal: controller.signal, onProgress })
    await expect(stopped).rejects.toMatchObject({ code: 'aborted' })
    await downloadFile(published(), folder)
    expect(requests[1]).toEqual({ range: 'bytes=100000-' })
  })
})

describe('an interrupted download', () => {
  it('is kept, and resumes where it stopped', async () => {
    answers = [broken(100_000, 'hang up'), whole()]
    await expect(downloadFile(published(), folder)).rejects.toMatchObject({
      code: 'fetch',
      message: expect.stringContaining('The first 100000 bytes are kept'),
      details: { keptBytes: 100_000 },
    })
    expect(await filesThere()).toEqual([expect.stringMatching(/^\.net\.h5\..*\.part$/)])
    const progress: number[] = []
    await downloadFile(published(), folder, { onProgress: (received) => progress.push(received) })
    expect(requests.map(({ range }) => range)).toEqual([undefined, 'bytes=100000-'])
    expect(progress[0]).toBeGreaterThan(100_000)
    expect(await isWhole()).toBe(true)
    expect(await filesThere()).toEqual(['net.h5'])
  })

  it('gives up on a server that stalls, and resumes later', async () => {
    answers = [broken(5000, 'stall'), whole()]
    await expect(downloadFile(published(), folder, { stallMs: 100 })).rejects.toMatchObject({
      code: 'fetch',
      message: expect.stringContaining('no data for 0.1 s after 5000 bytes'),
    })
    await downloadFile(published(), folder)
    expect(requests[1]).toEqual({ range: 'bytes=5000-' })
    expect(await isWhole()).toBe(true)
  })

  it('resumes even if the server ended the body early without giving its length', async () => {
    answers = [ofNoLength(content.subarray(0, 70_000)), whole()]
    await expect(downloadFile(published(), folder)).rejects.toMatchObject({
      code: 'fetch',
      message: expect.stringContaining('ended after 70000 of 300000 bytes'),
    })
    await downloadFile(published(), folder)
    expect(requests[1]).toEqual({ range: 'bytes=70000-' })
    expect(await isWhole()).toBe(true)
  })

  it('starts over with a server that only sends files whole', async () => {
    await breakOff()
    answers = [ignoringRange]
    await downloadFile(published(), folder)
    expect(requests).toEqual([{ range: 'bytes=100000-' }])
    expect(await isWhole()).toBe(true)
  })

  it('starts over, once, if its first part was of another file', async () => {
    answers = [ofNoLength(otherContent.subarray(0, 50_000))]
    await expect(downloadFile(published(), folder)).rejects.toMatchObject({ code: 'fetch' })
    requests = []
    answers = [whole()]
    await downloadFile(published(), folder)
    expect(requests).toEqual([{ range: 'bytes=50000-' }, { range: undefined }])
    expect(await isWhole()).toBe(true)
  })

  it('is given up if the whole file is a different one too', async () => {
    await breakOff()
    answers = [whole(otherContent)]
    await expect(downloadFile(published(), folder)).rejects.toMatchObject({ code: 'checksum' })
    expect(requests).toHaveLength(2)
    expect(await filesThere()).toEqual([])
  })

  it('starts over if the server has fewer bytes than were received', async () => {
    const unknown = { bytes: undefined, checksum: createHash('md5').update(content.subarray(0, 5000)).digest('hex') }
    await breakOff()
    answers = [whole(content.subarray(0, 5000))]
    await downloadFile(published(unknown), folder)
    expect(requests).toHaveLength(2)
    expect(await readFile(join(folder, 'net.h5'))).toHaveLength(5000)
  })

  it('is checked by SHA-256 where that is published', async () => {
    const sha256 = createHash('sha256').update(content).digest('hex')
    answers = [whole(content)]
    await downloadFile(published({ checksum: sha256 }), folder)
    answers = [whole(content)]
    await expect(downloadFile(published({ checksum: sha256.replace(/^./, 'x') }), folder)).rejects.toMatchObject({
      code: 'checksum',
      message: expect.stringContaining(sha256),
    })
  })

  it('that already has all its bytes is not requested again', async () => {
    answers = [broken(100_000, 'hang up')]
    await breakOff()
    const [partial = ''] = await filesThere()
    await writeFile(join(folder, partial), content)
    await downloadFile(published(), folder)
    expect(requests).toEqual([])
    expect(await filesThere()).toEqual(['net.h5'])
  })

  it('starts over, once, when the part that the server sends does not fit the part already received', async () => {
    const misfits: Record<string, Answer> = {
      'another part': (_, response) =>
        void response.writeHead(206, { 'content-range': 'bytes 7-8/300000' }).end(Buffer.alloc(2)),
      'a part without a position': (_, response) => void response.writeHead(206).end(Buffer.alloc(2)),
      'the rest of another file': (_, response) =>
        void response.writeHead(206, { 'content-range': 'bytes 100000-199999/200000' }).end(Buffer.alloc(100_000)),
      'more than is missing': (_, response) => {
        response.writeHead(206, { 'content-range': 'bytes 100000-299999/*' })
        response.end(Buffer.alloc(250_000))
      },
    }
    for (const [name, misfit] of Object.entries(misfits)) {
      await breakOff()
      answers = [misfit, whole()]
      await downloadFile(published(), folder)
      expect({ name, requests }).toEqual({ name, requests: [{ range: 'bytes=100000-' }, { range: undefined }] })
      expect(await isWhole()).toBe(true)
      await rm(join(folder, 'net.h5'))

      await breakOff()
      answers = [misfit]
      await expect(downloadFile(published(), folder)).rejects.toMatchObject({ code: 'fetch' })
      expect({ name, requests: requests.length, left: await filesThere() }).toEqual({ name, requests: 2, left: [] })
    }
  })

  it('survives a web page in place of the file, which is refused at its first bytes', async () => {
    const page = (_: IncomingMessage, response: ServerResponse): void => {
      response.writeHead(200, { 'content-type': 'text/html' })
      response.write(' \n<!DOCTYPE html><html>Please log in')
      // Never ends: whoever waits for the end gives up later, for another reason.
    }
    await breakOff()
    answers = [page]
    const refused = { code: 'fetch', message: expect.stringContaining('a web page, not the file') }
    await expect(downloadFile(published(), folder, { stallMs: 5000 })).rejects.toMatchObject(refused)
    requests = []
    answers = [whole()]
    await downloadFile(published(), folder)
    expect(requests).toEqual([{ range: 'bytes=100000-' }])
    expect(await isWhole()).toBe(true)

    answers = [page]
    await rm(join(folder, 'net.h5'))
    await expect(downloadFile(published(), folder, { stallMs: 5000 })).rejects.toMatchObject(refused)
    expect(await filesThere()).toEqual([])
  })
})

describe('leftovers', () => {
  it('of any kind are removed after a day, in every folder of the cache, and nothing else is', async () => {
    const left = [`.net.h5.1-0a.part`, `.config.json.${process.pid}-0a1b.tmp`, '.writable-12', 'lock.0a.1b']
    const folders = ['staging-12-x9', '.fashion-mnist-AbC123']
    const kept = ['net.h5', 'lock', 'notes.tmp', '.hidden', 'staging']
    const places = [folder, join(folder, 'weights'), join(folder, 'features', 'vgg16-32-00')]
    const [old, young] = [new Date(Date.now() - 90_000_000), new Date(Date.now() - 80_000_000)]
    const age = async (when: Date): Promise<void> => {
      for (const place of places) {
        for (const name of folders) {
          await mkdir(join(place, name, 'lib'), { recursive: true })
          await utimes(join(place, name), when, when)
        }
        for (const name of [...left, ...kept]) {
          await writeFile(join(place, name), '')
          await utimes(join(place, name), when, when)
        }
      }
    }
    const listed = async (place: string): Promise<string[]> =>
      (await readdir(place)).filter((name) => name !== 'weights' && name !== 'features').sort()
    await age(young)
    await sweepCache(folder)
    for (const place of places) expect(await listed(place)).toEqual([...left, ...folders, ...kept].sort())
    await age(old)
    await sweepCache(folder)
    for (const place of places) expect(await listed(place)).toEqual([...kept].sort())
  })

  it('of other files are removed by a download too', async () => {
    answers = [whole()]
    const name = `.another.h5.${2 ** 31 - 2}-0.part`
    await writeFile(join(folder, name), 'a part')
    await utimes(join(folder, name), 0, 0)
    await downloadFile(published(), folder)
    expect(await filesThere()).toEqual(['net.h5'])
  })
})

describe('two downloads of one file at once', () => {
  it('both end with the whole file, each with its own partial file', async () => {
    await breakOff()
    answers = [whole()]
    const paths = await Promise.all([downloadFile(published(), folder), downloadFile(published(), folder)])
    expect(new Set(paths).size).toBe(1)
    expect(requests.map(({ range }) => range).sort()).toEqual(['bytes=100000-', undefined])
    expect(await isWhole()).toBe(true)
    expect(await filesThere()).toEqual(['net.h5'])
  })

  it('do not touch files that a running process is writing, and reuse old leftovers', async () => {
    answers = [whole()]
    // This process' parent runs as long as the tests do; no process has a number that large.
    const running = `.net.h5.${process.ppid}-0.part`
    const left = `.net.h5.${2 ** 31 - 2}-0.part`
    await writeFile(join(folder, running), content.subarray(0, 200_000))
    await writeFile(join(folder, left), content.subarray(0, 1000))
    await downloadFile(published(), folder)
    expect(requests).toEqual([{ range: 'bytes=1000-' }])
    expect(await filesThere()).toEqual([running, 'net.h5'])

    await utimes(join(folder, running), 0, 0)
    await downloadFile(published(), folder)
    expect(requests[1]).toEqual({ range: 'bytes=200000-' })
    expect(await filesThere()).toEqual(['net.h5'])
  })
})
