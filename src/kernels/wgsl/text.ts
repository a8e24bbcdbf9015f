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

/**
 * An operand in memory of this type, or of its half precision: the type of its elements there, and an element as a value
 * of the type.
 */
export function operandOf(type: FloatType, isHalf = false): { element: string; value: (element: string) => string } {
  if (!isHalf) return { element: type, value: (element) => element }
  return { element: type === 'f32' ? 'f16' : type.replace('f', 'h'), value: (element) => `${type}(${element})` }
}
