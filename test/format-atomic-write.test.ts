import { type FileHandle, mkdtemp, open, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { WeftgradError } from '../src/errors.ts'
import { appendLineDurable, writeFileAtomic } from '../src/format/atomic-write.node.ts'

let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'weftgrad-atomic-'))
})
afterEach(async () => {
  await rm(folder, { recursive: true })
})

describe('writeFileAtomic', () => {
  it('writes text, bytes and streams of chunks, and creates folders', async () => {
    const path = join(folder, 'a', 'b', 'file')
    await writeFileAtomic(path, 'text')
    expect(await readFile(path, 'utf8')).toBe('text')
    await writeFileAtomic(path, Uint8Array.of(1, 2, 3))
    expect([...(await readFile(path))]).toEqual([1, 2, 3])
    await writeFileAtomic(
      path,
      (async function* () {
        yield Uint8Array.of(4)
        yield Uint8Array.of(5, 6)
      })(),
    )
    expect([...(await readFile(path))]).toEqual([4, 5, 6])
    expect(await readdir(join(folder, 'a', 'b'))).toEqual(['file'])
  })

  it('leaves the old file and no temporary one when the stream fails, and passes the error on', async () => {
    const path = join(folder, 'file')
    await writeFile(path, 'old')
    const failure = new WeftgradError('checksum', 'Wrong.')
    const stream = async function* () {
      yield Uint8Array.of(1)
      throw failure
    }
    await expect(writeFileAtomic(path, stream())).rejects.toBe(failure)
    expect(await readFile(path, 'utf8')).toBe('old')
    expect(await readdir(folder)).toEqual(['file'])
  })

  it('reports what the disk refused', async () => {
    await writeFile(join(folder, 'file'), '')
    await expect(writeFileAtomic(join(folder, 'file', 'inside'), 'x')).rejects.toMatchObject({
      name: 'WeftgradError',
      code: 'file',
      message: expect.stringContaining('a file, not a folder'),
    })
    await expect(writeFileAtomic(folder, 'x')).rejects.toMatchObject({ code: 'file' })
    expect(await readdir(folder)).toEqual(['file'])
  })

  it('reports a full disk, keeps the old file and removes what it wrote', async () => {
    const path = join(folder, 'file')
    await writeFile(path, 'old')
    const handle = await open(path)
    const prototype: FileHandle = Object.getPrototypeOf(handle)
    await handle.close()
    const full = Object.assign(new Error('ENOSPC: no space left on device, fsync'), { code: 'ENOSPC' })
    const spy = vi.spyOn(prototype, 'sync').mockRejectedValue(full)
    try {
      await expect(writeFileAtomic(path, 'new')).rejects.toMatchObject({
        code: 'file',
        message: expect.stringMatching(/file could not be written: the disk is full\. Free some space/),
      })
    } finally {
      spy.mockRestore()
    }
    expect(await readFile(path, 'utf8')).toBe('old')
    expect(await readdir(folder)).toEqual(['file'])
  })

  it.skipIf(process.platform !== 'linux')('reports the full disk when the disk itself refuses', async () => {
    await expect(appendLineDurable('/dev/full', 'line')).rejects.toMatchObject({
      code: 'file',
      message: expect.stringContaining('the disk is full'),
    })
  })
})

describe('appendLineDurable', () => {
  it('appends lines, and starts a new one after a truncated line', async () => {
    const path = join(folder, 'log', 'history.jsonl')
    await appendLineDurable(path, '{"epoch":1}')
    await appendLineDurable(path, '{"epoch":2}')
    expect(await readFile(path, 'utf8')).toBe('{"epoch":1}\n{"epoch":2}\n')
    await writeFile(path, '{"epoch":1}\n{"epo')
    await appendLineDurable(path, '{"epoch":2}')
    expect(await readFile(path, 'utf8')).toBe('{"epoch":1}\n{"epo\n{"epoch":2}\n')
  })

  it('refuses line breaks', async () => {
    await expect(appendLineDurable(join(folder, 'x'), 'a\nb')).rejects.toMatchObject({ code: 'argument' })
    expect(await readdir(folder)).toEqual([])
  })
})
