/** Gradients of single tensors, and their numbers. */
import { expect } from 'vitest'
import type { Device } from '../../src/gpu/device.ts'
import type { Tensor } from '../../src/index.ts'
import { evaluate, gradients, tensor } from '../../src/index.ts'
import { disagreement } from './compare.ts'

/** Evaluates tensors on a device. */
export const numbersOn =
  (device: () => Device) =>
  async (...tensors: Tensor[]): Promise<number[][]> =>
    (await evaluate(tensors, { device: device() })).map((one) => [...one])

export function expectClose(actual: readonly number[] | undefined, expected: readonly number[], rtol = 1e-5): void {
  expect(disagreement(actual ?? [], expected, { rtol, atol: rtol / 10 })).toBeUndefined()
}

/** One row of pixels as an image. */
export const strip = (pixels: readonly number[]): Tensor => tensor(pixels, [1, 1, pixels.length, 1])

/** The gradient with respect to `x` alone. */
export function slope(y: Tensor, x: Tensor): Tensor {
  const [gradient] = gradients(y, [x])
  if (gradient === undefined) throw new Error('one tensor gives one gradient')
  return gradient
}
