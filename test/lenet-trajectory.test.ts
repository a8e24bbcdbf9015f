/**
 * Whole training steps, compared with the same steps in float64: every loss, the first gradients, the final parameters.
 */

import { describe, expect, it } from 'vitest'
import { loadFashionMnist } from '../src/data/fashion-mnist.node.ts'
import { fnv1a, hashedNumbers } from '../src/weights/hashed.ts'
import check from './fixtures/hashed-check.json' with { type: 'json' }
import { useDevice } from './support/device.ts'
import {
  referenceTrajectories,
  trajectoryErrors,
  trajectoryOn,
  trajectoryTolerance,
} from './support/lenet-trajectory.ts'

describe('LeNet-5 follows the float64 trajectory', () => {
  const device = useDevice()

  it('starts from the same hashed weights as the reference', () => {
    expect(fnv1a('conv1/kernel')).toBe(check['fnv1a("conv1/kernel")'])
    expect([...hashedNumbers('conv1/kernel', 8)]).toEqual(check['conv1/kernel first 8'])
  })

  for (const reference of referenceTrajectories) {
    const { batch_size: batch, learning_rate: learningRate, losses } = reference
    it(`over ${losses.length} steps of ${batch} images at a learning rate of ${learningRate}`, async () => {
      const { train } = await loadFashionMnist()
      const errors = trajectoryErrors(await trajectoryOn(device(), reference, train), reference)
      expect(errors.loss).toBeLessThan(trajectoryTolerance.loss)
      expect(errors.gradient).toBeLessThan(trajectoryTolerance.gradient)
      expect(errors.weight).toBeLessThan(trajectoryTolerance.weight)
    })
  }
})
