/**
 * Small pieces of WGSL text that several families need. Numeric traps of WGSL compilers are dealt with here once:
 * `n != n` may fold to false, `max(NaN, 0)` may give 0, and infinite constants do not compile.
 */

/** `isNan(x)`: by exponent and mantissa bits, since comparisons may be folded away. */
export const isNanFunction = `
fn isNan(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}`

/** `isFinite(x)`: by exponent bits. */
export const isFiniteFunction = `
fn isFinite(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7f800000u) != 0x7f800000u;
}`

/** Minus infinity, read from bits at run time: WGSL refuses the constant. Use as `negativeInfinity(zero)` with a runtime zero. */
export const negativeInfinityFunction = `
fn negativeInfinity(runtimeZero: u32) -> f32 {
  return bitcast<f32>(0xff800000u + runtimeZero);
}`

/** A float literal that WGSL reads back as exactly this float32. Refuses values that are not finite. */
export function floatLiteral(value: number): string {
  const rounded = Math.fround(value)
  if (!Number.isFinite(rounded)) throw new RangeError(`WGSL has no literal for ${value}`)
  const text = String(rounded)
  return /[.e]/.test(text) ? `${text}f` : `${text}.0f`
}

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
