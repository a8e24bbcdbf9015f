/** Small pieces of WGSL text, and of the lists behind it, that several families need. Functions are in functions.ts. */

/** The names of a vector's components. */
export const components = 'xyzw'

/** A component of a vector of `width` numbers; of a single one, the number itself. */
export function component(name: string, width: 1 | 2 | 4, index: number): string {
  return width === 1 ? name : `${name}.${components[index]}`
}

/** Whole numbers from 0 to below `count`; none where that is negative. */
export function range(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i)
}

/** A line of text for each number. */
export function lines(numbers: readonly number[], line: (n: number) => string): string {
  return numbers.map(line).join('\n')
}

/** `count` lines of text, one for each number from 0. */
export function repeat(count: number, line: (i: number) => string): string {
  return lines(range(count), line)
}

/**
 * Whether all conditions hold, without a branch: `&&` branches over its right side. SwiftShader took 16 s to compile 24 of
 * them within the loops of a convolution's gradient, and 0.1 s so.
 */
export function allOf(...conditions: readonly string[]): string {
  return conditions.map((condition) => `(${condition})`).join(' & ')
}
