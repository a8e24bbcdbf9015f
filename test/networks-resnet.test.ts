/** Features of ResNet152V2 at full depth, with hashed weights, compared with Keras', in float64. */

import { describe, expect, it } from 'vitest'
import { freeze } from '../src/nn/freeze.ts'
import { resnet152v2 } from '../src/nn/models/resnet152v2.ts'
import { hashedGains, hashedReader } from '../src/weights/hashed.ts'
import { useDevice } from './support/device.ts'
import { featureErrors, kerasFeatures } from './support/keras-features.ts'

const device = useDevice()

describe.each([32, 64])('resnet152v2 at %i pixels', (size) => {
  it.each(['as it is', 'frozen'])('gives the features of the reference, %s', async (form) => {
    const model = resnet152v2({ size, pooling: 'avg' })
    using used = form === 'frozen' ? freeze(model) : model
    await used.load(device(), hashedReader(hashedGains.resnet152v2))
    for (const [layer, error] of await featureErrors(used, 'tf', kerasFeatures('resnet152v2', 'hashed', size)))
      expect(error, layer).toBeLessThan(2e-5)
  })
})
