import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { WeftgradError } from '../src/errors.ts'
import {
  float16ToFloat32,
  readSafetensors,
  type SafeTensor,
  toFloat32,
  writeSafetensors,
} from '../src/format/safetensors.ts'

/** A file with this header text and this many bytes of data; `claimed` overrides the header length. */
function file(header: string, dataBytes = 0, claimed?: bigint): Uint8Array {
  const text = new TextEncoder().encode(header)
  const bytes = new Uint8Array(8 + text.length + dataBytes)
  new DataView(bytes.buffer).setBigUint64(0, claimed ?? BigInt(text.length), true)
  bytes.set(text, 8)
  return bytes
}

const entry = (dtype: string, shape: string, begin: number | string, end: number | string): string =>
  `{"dtype":"${dtype}","shape":${shape},"data_offsets":[${begin},${end}]}`

const refusal = (bytes: Uint8Array): string => {
  try {
    readSafetensors(bytes, 'x.safetensors')
  } catch (error) {
    expect(error).toMatchObject({ name: 'WeftgradError', code: 'format' })
    return error instanceof Error ? error.message : ''
  }
  return expect.fail('was not refused')
}

const everyDtype: ReadonlyMap<string, SafeTensor> = new Map<string, SafeTensor>([
  ['f64', { dtype: 'F64', shape: [2], data: Float64Array.of(Math.PI, -0) }],
  ['i64', { dtype: 'I64', shape: [1, 2], data: BigInt64Array.of(-(2n ** 63n), 1n) }],
  ['u64', { dtype: 'U64', shape: [1], data: BigUint64Array.of(2n ** 64n - 1n) }],
  ['f32', { dtype: 'F32', shape: [3, 1], data: Float32Array.of(1.5, Number.NaN, Number.NEGATIVE_INFINITY) }],
  ['i32', { dtype: 'I32', shape: [], data: Int32Array.of(-5) }],
  ['u32', { dtype: 'U32', shape: [1], data: Uint32Array.of(0xffffffff) }],
  ['f16', { dtype: 'F16', shape: [3], data: Uint16Array.of(0x3c00, 0x0001, 0xfc00) }],
  ['bf16', { dtype: 'BF16', shape: [1], data: Uint16Array.of(0xc049) }],
  ['i16', { dtype: 'I16', shape: [1], data: Int16Array.of(-2) }],
  ['u16', { dtype: 'U16', shape: [1], data: Uint16Array.of(65535) }],
  ['i8', { dtype: 'I8', shape: [1], data: Int8Array.of(-128) }],
  ['u8', { dtype: 'U8', shape: [5], data: Uint8Array.of(1, 2, 3, 4, 255) }],
  ['bool', { dtype: 'BOOL', shape: [2], data: Uint8Array.of(0, 1) }],
  ['empty', { dtype: 'F32', shape: [0, 7], data: new Float32Array(0) }],
  ['ключ "\\\n', { dtype: 'U8', shape: [1], data: Uint8Array.of(7) }],
  ['__proto__', { dtype: 'U8', shape: [1], data: Uint8Array.of(8) }],
])

describe('safetensors', () => {
  it('round-trips every dtype, odd names and metadata', () => {
    const metadata = { format: 'pt', constructor: 'x', 'a "b"': 'line\nbreak' }
    const bytes = writeSafetensors(everyDtype, metadata)
    const read = readSafetensors(bytes)
    expect(new Map(read.tensors)).toEqual(everyDtype)
    expect(read.metadata).toEqual(metadata)
    expect(new DataView(bytes.buffer).getUint32(0, true) % 8).toBe(0)
    for (const { data } of read.tensors.values()) expect(data.buffer).toBe(bytes.buffer)
  })

  it('writes the same bytes in any order, and an empty file for no tensors', () => {
    const metadata = { b: '2', a: '1' }
    const reversed = new Map([...everyDtype].reverse())
    expect(writeSafetensors(reversed, { a: '1', b: '2' })).toEqual(writeSafetensors(everyDtype, metadata))
    expect(readSafetensors(writeSafetensors(new Map())).tensors.size).toBe(0)
  })

  it('writes the reference layout: wide types first, then names', () => {
    const bytes = writeSafetensors(
      new Map<string, SafeTensor>([
        ['c', { dtype: 'U8', shape: [1], data: Uint8Array.of(9) }],
        ['b', { dtype: 'F32', shape: [1], data: Float32Array.of(1) }],
        ['a', { dtype: 'F32', shape: [1], data: Float32Array.of(2) }],
      ]),
    )
    const header = new TextDecoder().decode(bytes.subarray(8, 8 + (bytes[0] ?? 0)))
    expect(header.trimEnd()).toBe(
      `{"a":${entry('F32', '[1]', 0, 4)},"b":${entry('F32', '[1]', 4, 8)},"c":${entry('U8', '[1]', 8, 9)}}`,
    )
  })

  it('reads unaligned data by copying it', () => {
    const bytes = writeSafetensors(everyDtype)
    for (let shift = 1; shift < 8; shift++) {
      const shifted = new Uint8Array(bytes.length + shift)
      shifted.set(bytes, shift)
      expect(new Map(readSafetensors(shifted.subarray(shift)).tensors)).toEqual(everyDtype)
    }
  })

  it('round-trips any shapes and floats', () => {
    const tensor = fc.array(fc.nat(4), { maxLength: 4 }).chain((shape) => {
      const length = shape.reduce((product, extent) => product * extent, 1)
      return fc
        .float32Array({ minLength: length, maxLength: length })
        .map((data): SafeTensor => ({ dtype: 'F32', shape, data }))
    })
    const names = fc.string({ unit: 'grapheme', maxLength: 8 })
    fc.assert(
      fc.property(fc.array(fc.tuple(names, tensor), { maxLength: 6 }), (entries) => {
        const tensors = new Map(entries)
        expect(new Map(readSafetensors(writeSafetensors(tensors)).tensors)).toEqual(tensors)
      }),
      { seed: 1 },
    )
  })

  it('refuses every prefix and a trailing byte', () => {
    const bytes = writeSafetensors(everyDtype, { key: 'value' })
    for (let length = 0; length < bytes.length; length++) refusal(bytes.subarray(0, length))
    expect(refusal(Uint8Array.of(...bytes, 0))).toContain('but there are')
  })

  it('refuses hostile header lengths', () => {
    for (const claimed of [2n ** 60n, 2n ** 64n - 1n, 2n ** 63n, 100n, 0n, 1n]) refusal(file('{}', 0, claimed))
    expect(refusal(file('{}', 0, 2n ** 60n))).toContain(`give a header of ${2n ** 60n} bytes`)
  })

  it('refuses hostile headers', () => {
    const deep = 100_000
    const wrong: [string, number, string][] = [
      ['', 0, "does not start with '{'"],
      [' {}', 0, "does not start with '{'"],
      ['{', 0, 'is not JSON'],
      ['{"a":1}', 0, 'not described by an object'],
      ['{"a":[]}', 0, 'not described by an object'],
      [`{"a":${'['.repeat(deep)}${']'.repeat(deep)}}`, 0, ''],
      [`{"a":${'{"a":'.repeat(deep)}1${'}'.repeat(deep)}}`, 0, ''],
      [`{"a":${entry('F8', '[1]', 0, 1)}}`, 1, 'has the dtype "F8"'],
      [`{"a":${entry('toString', '[1]', 0, 1)}}`, 1, 'has the dtype'],
      ['{"a":{"shape":[1],"data_offsets":[0,1]}}', 1, 'has the dtype undefined'],
      [`{"a":${entry('U8', '[-1]', 0, 1)}}`, 1, 'shape that is not'],
      [`{"a":${entry('U8', '[1.5]', 0, 1)}}`, 1, 'shape that is not'],
      [`{"a":${entry('U8', '[1e300]', 0, 1)}}`, 1, 'shape that is not'],
      [`{"a":${entry('U8', '"1"', 0, 1)}}`, 1, 'shape that is not'],
      [`{"a":${entry('U8', '[1152921504606846976, 1152921504606846976]', 0, 1)}}`, 1, 'shape that is not'],
      [`{"a":${entry('U8', '[4503599627370496, 4503599627370496]', 0, 1)}}`, 1, 'takes'],
      [`{"a":${entry('U8', '[1]', -1, 0)}}`, 1, 'data_offsets that are not'],
      [`{"a":${entry('U8', '[1]', 1, 0)}}`, 1, 'a begin and an end'],
      ['{"a":{"dtype":"U8","shape":[1],"data_offsets":[0]}}', 1, 'a begin and an end'],
      ['{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,1]}}', 1, 'a begin and an end'],
      [`{"a":${entry('U8', '[1]', '1152921504606846975', '1152921504606846976')}}`, 1, 'data_offsets that are not'],
      [`{"a":${entry('U8', '[2]', 0, 2)}}`, 1, 'ends at byte 2 of the data'],
      [`{"a":${entry('F32', '[1]', 0, 3)}}`, 3, 'takes 4 bytes'],
      [`{"a":${entry('U8', '[2]', 0, 2)},"b":${entry('U8', '[2]', 1, 3)}}`, 3, 'neither overlaps'],
      [`{"a":${entry('U8', '[1]', 0, 1)},"b":${entry('U8', '[1]', 2, 3)}}`, 3, 'neither holes'],
      [`{"a":${entry('U8', '[1]', 1, 2)}}`, 2, 'neither holes'],
      [`{"a":${entry('U8', '[1]', 0, 1)}}`, 2, 'end at byte 1'],
      ['{}', 1, 'end at byte 0'],
      [`{"a":${entry('U8', '[1]', 0, 1)},"a":${entry('U8', '[1]', 0, 1)}}`, 1, "the key 'a' twice"],
      [`{"a":${entry('U8', '[1]', 0, 1)},"\\u0061":${entry('U8', '[1]', 0, 1)}}`, 1, "the key 'a' twice"],
      [`{"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 1, "the key 'dtype' twice"],
      ['{"__metadata__":{"a":"1","a" :"2"}}', 0, "the key 'a' twice"],
      ['{"__metadata__":{"a":1}}', 0, 'not a string'],
      ['{"__metadata__":[]}', 0, 'not an object'],
    ]
    for (const [header, dataBytes, expected] of wrong) {
      expect(refusal(file(header, dataBytes)), header.slice(0, 100)).toContain(expected)
    }
    const notUtf8 = file('{"a":1}')
    notUtf8[10] = 0xff
    expect(refusal(notUtf8)).toContain('is not JSON')
    expect(refusal(Uint8Array.of(...file(`{"a":${entry('BOOL', '[2]', 0, 2)}}`), 1, 2))).toContain('at index 1')
  })

  it('reads null as no metadata, as the reference implementation does', () => {
    const text = `{"__metadata__":null,"a":${entry('U8', '[1]', 0, 1)}}`
    expect(readSafetensors(file(text, 1))).toMatchObject({ metadata: {} })
  })

  it('distinguishes keys from equal values and from brackets in strings', () => {
    const text = '{"__metadata__":{"a":"b","b":"a{\\"a\\":"},"a":{"dtype":"U8","shape":[],"data_offsets":[0,1]}  }   '
    expect(readSafetensors(file(text, 1)).tensors.get('a')).toMatchObject({ shape: [] })
  })

  it('turns flipped bits into tensors or a format error', () => {
    const bytes = writeSafetensors(everyDtype, { key: 'value' })
    const positions = fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.nat(7)), { minLength: 1, maxLength: 3 })
    fc.assert(
      fc.property(positions, (flips) => {
        const flipped = Uint8Array.from(bytes)
        for (const [at, bit] of flips) flipped[at] = (flipped[at] ?? 0) ^ (1 << bit)
        try {
          for (const { shape, data } of readSafetensors(flipped).tensors.values()) {
            expect(shape.reduce((product, extent) => product * extent, 1)).toBe(data.length)
          }
        } catch (error) {
          expect(error).toMatchObject({ name: 'WeftgradError', code: 'format' })
        }
      }),
      { seed: 4, numRuns: 3000 },
    )
  })

  it('does not write what it could not read', () => {
    const u8 = (shape: number[]): SafeTensor => ({ dtype: 'U8', shape, data: Uint8Array.of(1) })
    for (const [name, tensor] of [
      ['__metadata__', u8([1])],
      ['\ud800', u8([1])],
      ['a', u8([2])],
      ['a', u8([-1])],
      ['a', { dtype: 'BOOL', shape: [1], data: Uint8Array.of(2) }],
    ] satisfies [string, SafeTensor][]) {
      expect(() => writeSafetensors(new Map([[name, tensor]]))).toThrow(WeftgradError)
    }
  })
})

describe('toFloat32', () => {
  it('widens half-precision floats exactly', () => {
    const bits = Uint16Array.of(
      0,
      0x8000,
      0x0001,
      0x03ff,
      0x0400,
      0x3555,
      0x3c00,
      0xc000,
      0x7bff,
      0x7c00,
      0xfc00,
      0x7e00,
    )
    expect([...float16ToFloat32(bits)]).toEqual([
      0,
      -0,
      2 ** -24,
      1023 * 2 ** -24,
      2 ** -14,
      0.333251953125,
      1,
      -2,
      65504,
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
      Number.NaN,
    ])
    expect([...toFloat32({ dtype: 'BF16', shape: [2], data: Uint16Array.of(0xc049, 0x7f80) })]).toEqual([
      -3.140625,
      Number.POSITIVE_INFINITY,
    ])
  })

  it('passes float32 through and converts other types', () => {
    const data = Float32Array.of(1, 2)
    expect(toFloat32({ dtype: 'F32', shape: [2], data })).toBe(data)
    expect([...toFloat32({ dtype: 'I64', shape: [2], data: BigInt64Array.of(-3n, 2n ** 53n + 1n) })]).toEqual([
      -3,
      2 ** 53,
    ])
    expect([...toFloat32({ dtype: 'U8', shape: [1], data: Uint8Array.of(200) })]).toEqual([200])
  })
})
