/**
 * Mathematical functions in WGSL, for one, two or four numbers, where the built-in ones are not accurate enough on
 * every adapter. Every kernel, fused or not, takes such a function from here and so gets the same bits. Functions are
 * accurate to about 1e-6 relative (`power`: 1e-5 for results near the ends of the range); NaN in gives NaN out, and
 * results are infinite where the limit is.
 *
 * Measured on lavapipe 25.0.7: the built-in `log` is wrong by 4e-4 relative just below 1, `tanh` by 6e-3 near 0, and
 * `pow` is NaN for negative bases. `exp` is good to 4e-6, `sqrt` and division to 6e-8; these are used directly.
 * Denormals: `naturalLog` reads them exactly; elsewhere an adapter may flush them to zero.
 *
 * NaN is recognised by its bits: a compiler may fold away a comparison of a value with itself. WGSL also lets a
 * compiler reorder arithmetic, so a chain such as `(a + b) - a` may come out as `b`.
 */

export type FloatType = 'f32' | 'vec2f' | 'vec4f'

/** The types for one vector width: a lane handles one value, two, or four. */
export interface Width {
  readonly lanes: 1 | 2 | 4
  readonly f: FloatType
  readonly u: 'u32' | 'vec2u' | 'vec4u'
  readonly i: 'i32' | 'vec2i' | 'vec4i'
  readonly b: 'bool' | 'vec2<bool>' | 'vec4<bool>'
}

export const scalar: Width = { lanes: 1, f: 'f32', u: 'u32', i: 'i32', b: 'bool' }
export const pair: Width = { lanes: 2, f: 'vec2f', u: 'vec2u', i: 'vec2i', b: 'vec2<bool>' }
export const vector: Width = { lanes: 4, f: 'vec4f', u: 'vec4u', i: 'vec4i', b: 'vec4<bool>' }

export const widths: { readonly [F in FloatType]: Width } = { f32: scalar, vec2f: pair, vec4f: vector }

/** A WGSL function, and the functions that it calls. */
export interface WgslFunction {
  readonly name: string
  readonly needs: readonly WgslFunction[]
  readonly text: (width: Width) => string
}

export const isNan: WgslFunction = {
  name: 'isNan',
  needs: [],
  text: ({ f, u, b }) => `
fn isNan(x: ${f}) -> ${b} {
  return (bitcast<${u}>(x) & ${u}(0x7fffffffu)) > ${u}(0x7f800000u);
}`,
}

export const finite: WgslFunction = {
  name: 'isFinite',
  needs: [],
  text: ({ f, u, b }) => `
fn isFinite(x: ${f}) -> ${b} {
  return (bitcast<${u}>(x) & ${u}(0x7f800000u)) != ${u}(0x7f800000u);
}`,
}

/** Whether neither argument is NaN. */
export const ordered: WgslFunction = {
  name: 'ordered',
  needs: [isNan],
  text: ({ f, b }) => `
fn ordered(x: ${f}, y: ${f}) -> ${b} {
  return !(isNan(x) | isNan(y));
}`,
}

/** Whether x > y; false for NaN. */
export const exceeds: WgslFunction = {
  name: 'exceeds',
  needs: [ordered],
  text: ({ f, b }) => `
fn exceeds(x: ${f}, y: ${f}) -> ${b} {
  return (x > y) & ordered(x, y);
}`,
}

/** Whether x replaces the largest number so far: among equals the first wins, and the first NaN beats everything. */
export const takesMaximum: WgslFunction = {
  name: 'takesMaximum',
  needs: [isNan],
  text: ({ f, b }) => `
fn takesMaximum(x: ${f}, largest: ${f}) -> ${b} {
  return !isNan(largest) & ((x > largest) | isNan(x));
}`,
}

export const exponential: WgslFunction = {
  name: 'exponential',
  needs: [isNan],
  text: ({ f }) => `
fn exponential(x: ${f}) -> ${f} {
  return select(exp(x), x, isNan(x));
}`,
}

// With x = 2^exponent * m and m in [sqrt(1/2), sqrt(2)), returns log(m). For positive finite x; works on its bits. The
// polynomial is that of fdlibm's e_logf.c (Sun Microsystems 1993).
export const logOfMantissa: WgslFunction = {
  name: 'logOfMantissa',
  needs: [],
  text: ({ f, u, i }) => `
fn logOfMantissa(bits: ${u}, exponent: ptr<function, ${f}>) -> ${f} {
  // A denormal is 2^-149 times the integer that its bits spell.
  let tiny = bits < ${u}(0x00800000u);
  let normal = select(bits, bitcast<${u}>(${f}(bits)), tiny);
  let shifted = normal - ${u}(0x3f3504f3u);
  *exponent = ${f}(bitcast<${i}>(shifted) >> ${u}(23u)) - select(${f}(0.0), ${f}(149.0), tiny);
  let fraction = bitcast<${f}>((shifted & ${u}(0x007fffffu)) + ${u}(0x3f3504f3u)) - 1.0;
  let s = fraction / (2.0 + fraction);
  let z = s * s;
  let w = z * z;
  let series = z * (0.66666662693 + w * 0.28498786688) + w * (0.40000972152 + w * 0.24279078841);
  let half = 0.5 * fraction * fraction;
  return fraction - (half - s * (half + series));
}`,
}

export const naturalLog: WgslFunction = {
  name: 'naturalLog',
  needs: [logOfMantissa],
  text: ({ f, u }) => `
fn naturalLog(x: ${f}) -> ${f} {
  let bits = bitcast<${u}>(x);
  var exponent: ${f};
  let mantissa = logOfMantissa(bits, &exponent);
  let value = exponent * 0.693138122559 + (mantissa + exponent * 9.05800061445e-6);
  let minusInfinity = bitcast<${f}>(bits | ${u}(0xff800000u)); // where x is zero
  let undefinedValue = bitcast<${f}>(bits | ${u}(0x7fc00000u));
  let positive = select(x, value, bits < ${u}(0x7f800000u));
  let others = select(undefinedValue, positive, bits < ${u}(0x80000000u));
  return select(others, minusInfinity, (bits << ${u}(1u)) == ${u}(0u));
}`,
}

// |x|^y is 2^(y log2 |x|), with the product split so that its whole part is exact. A negative base gives a negative
// result for odd y, and NaN unless y is integral. IEEE 754's special cases: x^0 = 1 and 1^y = 1 even for NaN.
export const power: WgslFunction = {
  name: 'power',
  needs: [isNan, logOfMantissa],
  text: ({ f, u, i }) => `
fn power(x: ${f}, y: ${f}) -> ${f} {
  let magnitude = abs(x);
  var exponent: ${f};
  let mantissa = logOfMantissa(bitcast<${u}>(magnitude), &exponent);
  let leading = bitcast<${f}>(bitcast<${u}>(y) & ${u}(0xfffff000u)); // 12 bits times the exponent's 8 are exact
  let whole = leading * exponent;
  let rest = (y - leading) * exponent + y * (mantissa * 1.44269504089);
  let rounded = clamp(round(whole + rest), ${f}(-250.0), ${f}(250.0));
  let infiniteY = (bitcast<${u}>(y) & ${u}(0x7fffffffu)) == ${u}(0x7f800000u);
  let extreme = infiniteY | (magnitude == ${f}(0.0)) | (bitcast<${u}>(magnitude) == ${u}(0x7f800000u));
  let limit = select(${f}(-1000.0), ${f}(1000.0), (magnitude > ${f}(1.0)) == (y > ${f}(0.0)));
  let root = exp2(select((whole - rounded) + rest, limit, extreme));
  let scale = ${i}(select(rounded, ${f}(0.0), extreme));
  let halfScale = scale >> ${u}(1u);
  let factors = bitcast<${f}>(bitcast<${u}>(halfScale + 127) << ${u}(23u));
  let value = root * factors * bitcast<${f}>(bitcast<${u}>(scale - halfScale + 127) << ${u}(23u));
  let negative = (bitcast<${u}>(x) >> ${u}(31u)) == ${u}(1u);
  let integral = floor(y) == y;
  let odd = integral & (floor(y * 0.5) * 2.0 != y);
  let signed = select(value, -value, negative & odd);
  let fails = (x < ${f}(0.0)) & !integral & !extreme;
  let undefinedValue = bitcast<${f}>(bitcast<${u}>(x) | ${u}(0x7fc00000u));
  let defined = select(signed, undefinedValue, fails | isNan(x) | isNan(y));
  let one = (y == ${f}(0.0)) | (x == ${f}(1.0)) | (infiniteY & (magnitude == ${f}(1.0)));
  return select(defined, ${f}(1.0), one);
}`,
}

// Below 0.625, uses the polynomial of Cephes' tanhf.c (Moshier 1992), which keeps relative accuracy down to zero.
export const hyperbolicTangent: WgslFunction = {
  name: 'hyperbolicTangent',
  needs: [isNan],
  text: ({ f }) => `
fn hyperbolicTangent(x: ${f}) -> ${f} {
  let magnitude = min(abs(x), ${f}(10.0)); // 1 - tanh(10) is below half an ulp
  let large = 1.0 - 2.0 / (exp(2.0 * magnitude) + 1.0);
  let z = x * x;
  let series = (((-5.70498872745e-3 * z + 2.06390887954e-2) * z - 5.37397155531e-2) * z + 1.33314422036e-1) * z - 3.33332819422e-1;
  let value = select(select(large, -large, x < ${f}(0.0)), x + x * z * series, magnitude < ${f}(0.625));
  return select(value, x, isNan(x));
}`,
}

export const logistic: WgslFunction = {
  name: 'logistic',
  needs: [isNan],
  text: ({ f }) => `
fn logistic(x: ${f}) -> ${f} {
  let tail = exp(-abs(x)); // never overflows
  return select(select(${f}(1.0), tail, x < ${f}(0.0)) / (1.0 + tail), x, isNan(x));
}`,
}

// As bits, everything from -0 to -infinity becomes 0; NaN of either sign stays.
export const rectified: WgslFunction = {
  name: 'rectified',
  needs: [],
  text: ({ f, u }) => `
fn rectified(x: ${f}) -> ${f} {
  return select(x, ${f}(0.0), (bitcast<${u}>(x) - ${u}(0x80000000u)) <= ${u}(0x7f800000u));
}`,
}

// erfc for x >= 0, to about 1e-7 relative however small the result: Press et al., "Numerical Recipes", section 6.2.
export const complementaryError: WgslFunction = {
  name: 'complementaryError',
  needs: [],
  text: ({ f }) => `
fn complementaryError(x: ${f}) -> ${f} {
  let t = 1.0 / (1.0 + 0.5 * x);
  let upper = 0.27886807 + t * (-1.13520398 + t * (1.48851587 + t * (-0.82215223 + t * 0.17087277)));
  let series = -1.26551223 + t * (1.00002368 + t * (0.37409196 + t * (0.09678418 + t * (-0.18628806 + t * upper))));
  return t * exp(series - x * x);
}`,
}

// Below 0.5, uses the Taylor series, which keeps relative accuracy down to zero.
export const errorFunction: WgslFunction = {
  name: 'errorFunction',
  needs: [isNan, complementaryError],
  text: ({ f }) => `
fn errorFunction(x: ${f}) -> ${f} {
  let tail = 1.0 - complementaryError(abs(x));
  let z = x * x;
  let series = 1.0 + z * (-0.333333333 + z * (0.1 + z * (-0.0238095238 + z * (4.62962963e-3 - z * 7.57575758e-4))));
  let value = select(select(tail, -tail, x < ${f}(0.0)), x * 1.12837917 * series, abs(x) < ${f}(0.5));
  return select(value, x, isNan(x));
}`,
}

// x P(X < x); 0 wherever erfc is 0, -infinity included.
export const gaussianLinear: WgslFunction = {
  name: 'gaussianLinear',
  needs: [isNan, complementaryError],
  text: ({ f }) => `
fn gaussianLinear(x: ${f}) -> ${f} {
  let tail = 0.5 * complementaryError(min(abs(x), ${f}(20.0)) * 0.70710678);
  let value = max(x, ${f}(-20.0)) * select(1.0 - tail, tail, x < ${f}(0.0));
  return select(value, x, isNan(x));
}`,
}

export const gaussianLinearTanh: WgslFunction = {
  name: 'gaussianLinearTanh',
  needs: [isNan, hyperbolicTangent],
  text: ({ f }) => `
fn gaussianLinearTanh(x: ${f}) -> ${f} {
  let low = clamp(x, ${f}(-20.0), ${f}(20.0));
  let value = 0.5 * max(x, ${f}(-20.0)) * (1.0 + hyperbolicTangent(0.79788456 * (low + 0.044715 * low * low * low)));
  return select(value, x, isNan(x));
}`,
}

export const signOf: WgslFunction = {
  name: 'signOf',
  needs: [isNan],
  text: ({ f }) => `
fn signOf(x: ${f}) -> ${f} {
  return select(sign(x), x, isNan(x));
}`,
}

export const clipped: WgslFunction = {
  name: 'clipped',
  needs: [isNan],
  text: ({ f }) => `
fn clipped(x: ${f}, low: ${f}, high: ${f}) -> ${f} {
  return select(min(max(x, low), high), x, isNan(x));
}`,
}

export const larger: WgslFunction = {
  name: 'larger',
  needs: [isNan],
  text: ({ f }) => `
fn larger(x: ${f}, y: ${f}) -> ${f} {
  return select(select(max(x, y), y, isNan(y)), x, isNan(x));
}`,
}

export const smaller: WgslFunction = {
  name: 'smaller',
  needs: [isNan],
  text: ({ f }) => `
fn smaller(x: ${f}, y: ${f}) -> ${f} {
  return select(select(min(x, y), y, isNan(y)), x, isNan(x));
}`,
}

// Rounds towards zero. NaN and negative values give 0, values beyond the range give the largest u32.
export const truncated: WgslFunction = {
  name: 'truncated',
  needs: [isNan],
  text: ({ f, u }) => `
fn truncated(x: ${f}) -> ${u} {
  let within = ${u}(clamp(select(x, ${f}(0.0), isNan(x)), ${f}(0.0), ${f}(4294967040.0)));
  return select(within, ${u}(0xffffffffu), x >= ${f}(4294967296.0));
}`,
}

// Maps floats to integers in the same order, so that maxima are taken over integers, which compilers cannot break with
// assumptions about NaN.
export const orderedKey: WgslFunction = {
  name: 'orderedKey',
  needs: [],
  text: ({ f, u, i }) => `
fn orderedKey(x: ${f}, nan: u32) -> ${u} {
  let bits = bitcast<${u}>(x);
  let key = bits ^ (bitcast<${u}>(bitcast<${i}>(bits) >> ${u}(31u)) | ${u}(0x80000000u));
  return select(key, ${u}(nan), (bits & ${u}(0x7fffffffu)) > ${u}(0x7f800000u));
}`,
}

// The keys of NaN map back to NaN.
export const fromOrderedKey: WgslFunction = {
  name: 'fromOrderedKey',
  needs: [],
  text: ({ f, u }) => `
fn fromOrderedKey(key: ${u}) -> ${f} {
  return bitcast<${f}>(key ^ select(${u}(0xffffffffu), ${u}(0x80000000u), (key >> ${u}(31u)) == ${u}(1u)));
}`,
}

/** The function behind each activation. */
export const activations = {
  relu: rectified,
  sigmoid: logistic,
  tanh: hyperbolicTangent,
  gelu: gaussianLinear,
  geluTanh: gaussianLinearTanh,
} as const

/** A function that kernels apply to their result before they store it. */
export type Activation = keyof typeof activations

/** Whether kernels can apply the elementwise operator of this name. */
export function isActivation(kind: string): kind is Activation {
  return Object.hasOwn(activations, kind)
}

/** The key of NaN among `orderedKey`s: above all numbers for maxima, below all for minima. */
export const nanKey = { max: '0xffffffffu', min: '0u' } as const

/** Declares the functions and those that they call, each once. */
export function declareFunctions(functions: Iterable<WgslFunction>, width: Width): string {
  const declared = new Set<WgslFunction>()
  const texts: string[] = []
  const declare = (one: WgslFunction): void => {
    if (declared.has(one)) return
    declared.add(one)
    one.needs.forEach(declare)
    texts.push(one.text(width))
  }
  for (const one of functions) declare(one)
  return texts.join('\n')
}
