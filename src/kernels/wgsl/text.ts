/** Small pieces of WGSL text, and lists for them, that several families need. Functions are in functions.ts. */

import type { FloatType } from './functions.ts'

/** The names of a vector's components. */
export const components = 'xyzw'

/** A component of a vector of `width` numbers; for width 1, the number itself. */
export function component(name: string, width: 1 | 2 | 4, index: number): string {
  return width === 1 ? name : `${name}.${components[index]}`
}

/** The whole numbers from 0 to `count` - 1; none if `count` is negative. */
export function range(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i)
}

/** One line of text per number. */
export function lines(numbers: readonly number[], line: (n: number) => string): string {
  return numbers.map(line).join('\n')
}

/** One line of text for each number from 0 to `count` - 1. */
export function repeat(count: number, line: (i: number) => string): string {
  return lines(range(count), line)
}

/**
 * Whether all conditions hold, without a branch: `&&` branches over its right side. With `&&`, SwiftShader took 16 s to
 * compile 24 conditions inside the loops of a convolution's gradient; with this, 0.1 s.
 */
export function allOf(...conditions: readonly string[]): string {
  return conditions.map((condition) => `(${condition})`).join(' & ')
}

/** The type of an operand's elements in memory: this type, or its half. A kernel converts what it loads. */
export function storedType(type: FloatType, isHalf = false): string {
  return isHalf ? (type === 'f32' ? 'f16' : type.replace('f', 'h')) : type
}
