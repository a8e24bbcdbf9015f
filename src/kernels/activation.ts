/** Activations that matrix kernels apply to their result before they store it. */

export type FusedActivation = 'linear' | 'relu' | 'sigmoid' | 'tanh'

/**
 * `activate(x)` on `f32`, `vec2f` or `vec4f`. Relu keeps NaN: `max(NaN, 0)` may give 0, a comparison does not.
 * Tanh is clamped where it is 1 to the last bit, since some compilers expand it to a quotient of exponentials.
 */
export function activationFunction(activation: FusedActivation, type: string): string {
  const expression = {
    linear: 'x',
    relu: `select(x, ${type}(0), x < ${type}(0))`,
    sigmoid: '1 / (1 + exp(-x))',
    tanh: `tanh(clamp(x, ${type}(-10), ${type}(10)))`,
  }[activation]
  return `fn activate(x: ${type}) -> ${type} {\n  return ${expression};\n}`
}
