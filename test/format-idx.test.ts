import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { WeftgradError } from '../src/errors.ts'
import { parseIdx, writeIdx } from '../src/format/idx.ts'

const header = (type: number, ...dimensions: number[]): Uint8Array => {
  const bytes = new Uint8Array(4 + 4 * dimensions.length)
  bytes.set([0, 0, type, dimensions.length])
  const view = new DataView(bytes.buffer)
  dimensions.forEach((extent, i) => {
    view.setUint32(4 + 4 * i, extent)
  })
  return bytes
}

const refusal = (bytes: Uint8Array): string => {
  try {
    parseIdx(bytes, 'x.idx')
  } catch (error) {
    expect(error).toBeInstanceOf(WeftgradError)
    expect(error).toMatchObject({ code: 'format' })
    return error instanceof Error ? error.message : ''
  }
  return expect.fail('was not refused')
}

describe('parseIdx', () => {
  it('reads back what writeIdx wrote, without copying', () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(4), { minLength: 1, maxLength: 4 }),
        fc.infiniteStream(fc.nat(255)),
        (shape, values) => {
          const count = shape.reduce((product, extent) => product * extent, 1)
          const data = Uint8Array.from(values.take(count))
          const bytes = writeIdx({ shape, data })
          const read = parseIdx(bytes)
          expect(read.shape).toEqual(shape)
          expect(read.data).toEqual(data)
          expect(read.data.buffer).toBe(bytes.buffer)
        },
      ),
      { seed: 1 },
    )
  })

  it('reads bytes that start in the middle of a buffer', () => {
    const bytes = writeIdx({ shape: [2, 2], data: Uint8Array.of(1, 2, 3, 4) })
    const shifted = new Uint8Array(bytes.length + 7)
    shifted.set(bytes, 3)
    expect(parseIdx(shifted.subarray(3, 3 + bytes.length)).data).toEqual(Uint8Array.of(1, 2, 3, 4))
  })

  it('refuses every prefix and any trailing byte', () => {
    const bytes = writeIdx({ shape: [3, 2], data: Uint8Array.of(1, 2, 3, 4, 5, 6) })
    for (let length = 0; length < bytes.length; length++) refusal(bytes.subarray(0, length))
    expect(refusal(Uint8Array.of(...bytes, 0))).toContain('need 6 values, but 7 follow')
  })

  it('reports dimensions that exceed the data, without allocating', () => {
    expect(refusal(header(8, 0xffffffff, 0xffffffff, 0xffffffff))).toContain('4294967295x4294967295x4294967295')
    const many = new Uint8Array(4 + 4 * 255).fill(0xff)
    many.set([0, 0, 8, 255])
    refusal(many)
    refusal(header(8))
  })

  it('names the types it does not read, and gzip', () => {
    expect(refusal(header(0x0d, 1))).toContain('the type 0x0d')
    expect(refusal(header(0x55, 1))).toContain('the type 0x55')
    expect(refusal(Uint8Array.of(0x1f, 0x8b, 8, 0))).toContain('Decompress it first')
    expect(refusal(new TextEncoder().encode('<html>'))).toContain('bytes 0 and 1')
  })

  it('turns arbitrary bytes into a value or a format error', () => {
    const prefixed = fc.tuple(fc.nat(12), fc.nat(5), fc.uint8Array({ maxLength: 40 }))
    fc.assert(
      fc.property(prefixed, ([type, rank, rest]) => {
        const bytes = Uint8Array.of(0, 0, type, rank, ...rest)
        try {
          const { shape, data } = parseIdx(bytes)
          expect(shape.reduce((product, extent) => product * extent, 1)).toBe(data.length)
        } catch (error) {
          expect(error).toMatchObject({ name: 'WeftgradError', code: 'format' })
        }
      }),
      { seed: 2, numRuns: 2000 },
    )
  })
})

describe('writeIdx', () => {
  it('refuses shapes that do not match the data', () => {
    for (const shape of [[], [2], [-1], [1.5], [2 ** 32]]) {
      expect(() => writeIdx({ shape, data: new Uint8Array(3) })).toThrow(WeftgradError)
    }
  })
})
