/**
 * Stateless random numbers: the counter-based generator Threefry-4x32 with 20 rounds (J. K. Salmon, M. A. Moraes, R. O.
 * Dror, D. E. Shaw: Parallel random numbers: as easy as 1, 2, 3. SC 2011), as WGSL. A key names a random stream, a
 * counter a position in it; the four words at a position are the same on every adapter and in every kernel.
 *
 * Threefry uses only additions, rotations and exclusive-ors. The paper's other generator, Philox, needs the upper half
 * of 32-bit products, which WGSL lacks.
 */

import { checkValue } from '../../options.ts'
import type { UniformValue } from '../kernel.ts'

/** Rotation constants of the eight rounds that repeat (table 2 of the paper, N = 4, W = 32). */
const rotations = [
  [10, 26],
  [11, 21],
  [13, 27],
  [23, 5],
  [6, 20],
  [17, 11],
  [25, 10],
  [18, 20],
] as const

function rounds(): string {
  const lines: string[] = []
  for (let round = 0; round < 20; round++) {
    const [first, second] = rotations[round % 8] ?? [0, 0]
    // Even rounds mix word 0 with 1 and 2 with 3; odd rounds 0 with 3 and 2 with 1.
    const swapped = round % 2 === 1
    if (swapped) lines.push('  odd = odd.yx;')
    lines.push('  even += odd;', `  odd = rotateLeft(odd, vec2u(${first}u, ${second}u)) ^ even;`)
    if (swapped) lines.push('  odd = odd.yx;')
    if (round % 4 === 3) {
      const injection = (round + 1) / 4
      const [a, b, c, d] = [0, 1, 2, 3].map((word) => `k${(word + injection) % 5}`)
      lines.push(`  even += vec2u(${a}, ${c});`, `  odd += vec2u(${b}, ${d} + ${injection}u);`)
    }
  }
  return lines.join('\n')
}

/** Declares `threefry4x32(counter, key)`: four random words. Use each counter of a key once. */
export const threefryFunction = `
fn rotateLeft(x: vec2u, bits: vec2u) -> vec2u {
  return (x << bits) | (x >> (vec2u(32u) - bits));
}

fn threefry4x32(counter: vec4u, key: vec4u) -> vec4u {
  let k0 = key.x;
  let k1 = key.y;
  let k2 = key.z;
  let k3 = key.w;
  let k4 = 0x1bd11bdau ^ k0 ^ k1 ^ k2 ^ k3;
  var even = counter.xz + key.xz;
  var odd = counter.yw + key.yw;
${rounds()}
  return vec4u(even.x, odd.x, even.y, odd.y);
}`

/** Declares `randomKey()`: the key from the uniforms of `randomKeyUniforms`. */
export const randomKeyFunction = `
fn randomKey() -> vec4u {
  return vec4u(u.seedLow, u.seedHigh, u.stream, 0u);
}`

/**
 * The uniforms of a random stream. `seed` is an integer from 0 to 2^53 - 1, `stream` one from 0 to 2^32 - 1 that
 * separates the uses of one seed. Throws 'argument'.
 */
export function randomKeyUniforms(seed: number, stream: number): Readonly<Record<string, UniformValue>> {
  checkValue('A seed', seed, ['an integer from 0 to 2^53 - 1', () => Number.isSafeInteger(seed) && seed >= 0])
  checkValue('A random stream', stream, ['an integer from 0 to 2^32 - 1', () => stream === stream >>> 0])
  return { seedLow: seed >>> 0, seedHigh: Math.floor(seed / 2 ** 32), stream }
}
