/** The error function, its complement, and GELU, in float64. */

/**
 * The error function and its complement: the Taylor series near 0, else the continued fraction of erfc (Abramowitz &
 * Stegun 7.1.5 and 7.1.14).
 */
export function erf(x: number): number {
  if (!(Math.abs(x) < 2.5)) return Number.isNaN(x) ? x : Math.sign(x) * (1 - erfc(Math.abs(x)))
  let [term, total] = [x, x]
  for (let n = 1; Math.abs(term) > 1e-20 * Math.abs(total); n++) {
    term *= (-x * x) / n
    total += term / (2 * n + 1)
  }
  return (2 / Math.sqrt(Math.PI)) * total
}

export function erfc(x: number): number {
  if (x < 2.5) return 1 - erf(x)
  let fraction = x
  for (let n = 60; n > 0; n--) fraction = x + n / 2 / fraction
  return Math.exp(-x * x) / (Math.sqrt(Math.PI) * fraction)
}

/** The Gaussian error linear unit: x P(X < x) for a standard normal X. */
export function gelu(x: number): number {
  return x === Number.NEGATIVE_INFINITY ? -0 : (x / 2) * erfc(-x * Math.SQRT1_2)
}

/** The tanh approximation of {@link gelu}. */
export function geluTanh(x: number): number {
  return x === Number.NEGATIVE_INFINITY
    ? -0
    : (x / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)))
}
