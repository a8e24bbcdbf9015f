/** Small pieces of WGSL text that several families need. Mathematical functions are in functions.ts. */

/**
 * Whether all conditions hold, without a branch: `&&` branches over its right side. SwiftShader took 16 s to compile 24 of
 * them within the loops of a convolution's gradient, and 0.1 s so.
 */
export function allOf(...conditions: readonly string[]): string {
  return conditions.map((condition) => `(${condition})`).join(' & ')
}

/** `count` lines of text, one for each number from 0. */
export function repeat(count: number, line: (i: number) => string): string {
  return Array.from({ length: count }, (_, i) => line(i)).join('\n')
}

/** A line of text for each number. */
export function lines(numbers: readonly number[], line: (n: number) => string): string {
  return numbers.map(line).join('\n')
}
