/** Kernels stored in half precision, for frozen networks: rounded on the host, to the nearest, when they are loaded. */

import { WeftgradError } from '../errors.ts'
import { float16ToFloat32 } from '../format/safetensors.ts'
import { wordBytes } from '../gpu/alignment.ts'
import type { WeightEncoding } from './layers.ts'

/** Adding and subtracting it rounds a double to a whole number, half-way cases to the even one. */
const rounder = 2 ** 52

export const halfPrecision: WeightEncoding = {
  dtype: 'f16',
  elementBytes: 2,
  encode(numbers, name, device) {
    if (device.precision !== 'f16')
      throw new WeftgradError(
        'argument',
        `${name} is stored in half precision, and this device computes in single precision: open it with precision 'f16', or freeze the network without that option.`,
      )
    const words = new Uint32Array(numbers.buffer, numbers.byteOffset, numbers.length)
    const halves = new Uint16Array(wordBytes(2 * numbers.length) / 2)
    for (const [i, word] of words.entries()) {
      const magnitude = word & 0x7fffffff
      // 65,520 and more would become infinite.
      if (magnitude >= 0x477ff000)
        throw new WeftgradError(
          'data',
          `${name} holds ${numbers[i]}, and half precision ends at 65,504; freeze the network without precision 'f16'.`,
          { name },
        )
      // Below 2^-14, halves are multiples of 2^-24; above, they keep 10 of the 23 bits of the fraction.
      const half =
        magnitude < 0x38800000
          ? Math.abs(numbers[i] ?? 0) * 2 ** 24 + rounder - rounder
          : (magnitude + 0xfff + ((magnitude >>> 13) & 1) - 0x38000000) >>> 13
      halves[i] = ((word >>> 16) & 0x8000) | half
    }
    return halves
  },
  decode: (bytes, count) => float16ToFloat32(new Uint16Array(bytes, 0, count)),
}
