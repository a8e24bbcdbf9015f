import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { gunzip, isGzip } from '../src/format/gzip.ts'

const refused = { name: 'WeftgradError', code: 'format' }

describe('gunzip', () => {
  it('returns what was compressed', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 5000 }), async (data) => {
        expect(await gunzip(gzipSync(data))).toEqual(data)
      }),
      { seed: 1, numRuns: 50 },
    )
    const large = new Uint8Array(3_000_000).map((_, i) => (i * i) >> 7)
    expect(Buffer.compare(await gunzip(gzipSync(large)), large)).toBe(0)
  })

  it('refuses every prefix', async () => {
    const bytes = gzipSync('a line of text, and another line of text')
    for (let length = 0; length < bytes.length; length++) {
      await expect(gunzip(bytes.subarray(0, length), { source: 'x.gz' })).rejects.toMatchObject(refused)
    }
  })

  it('refuses flipped bits in the data, the checksum and the length', async () => {
    const original = new TextEncoder().encode('the same words, the same words, the same words')
    const bytes = gzipSync(original)
    for (let at = 0; at < bytes.length; at++) {
      for (let bit = 0; bit < 8; bit++) {
        const flipped = Uint8Array.from(bytes)
        flipped[at] = (flipped[at] ?? 0) ^ (1 << bit)
        try {
          // Flags, time and system in the header may change without changing the content.
          expect(await gunzip(flipped, { maxBytes: 1000 })).toEqual(original)
        } catch (error) {
          expect(error).toMatchObject(refused)
        }
      }
    }
  })

  it('refuses trailing bytes, other formats and empty input', async () => {
    await expect(gunzip(Buffer.concat([gzipSync('x'), Buffer.from('tail')]))).rejects.toMatchObject(refused)
    await expect(gunzip(new TextEncoder().encode('plain'))).rejects.toThrow('is not gzip')
    await expect(gunzip(new Uint8Array(0))).rejects.toMatchObject(refused)
  })

  it('stops a decompression bomb at its bound', async () => {
    const bomb = gzipSync(new Uint8Array(50_000_000))
    await expect(gunzip(bomb, { maxBytes: 100_000, source: 'bomb.gz' })).rejects.toThrow(
      'bomb.gz decompresses to more than the 100000 bytes',
    )
    await expect(gunzip(bomb, { maxBytes: 50_000_000 })).resolves.toHaveLength(50_000_000)
  })

  it('unpacks at most 256 MiB of a small file by default', async () => {
    const pieces = Array<Buffer>(9).fill(gzipSync(new Uint8Array(32 * 2 ** 20)))
    await expect(gunzip(Buffer.concat(pieces.slice(0, 2)))).resolves.toHaveLength(64 * 2 ** 20)
    await expect(gunzip(Buffer.concat(pieces))).rejects.toThrow('more than the 268435456 bytes allowed')
  })

  it('allocates for the data that arrives, not for the claimed length', async () => {
    const bytes = gzipSync('short')
    bytes.writeUInt32LE(0xffffffff, bytes.length - 4)
    await expect(gunzip(bytes)).rejects.toMatchObject(refused)
  })
})

describe('isGzip', () => {
  it('looks only at the signature', () => {
    expect(isGzip(Uint8Array.of(0x1f, 0x8b))).toBe(true)
    expect(isGzip(Uint8Array.of(0x1f))).toBe(false)
    expect(isGzip(new Uint8Array(8))).toBe(false)
  })
})
