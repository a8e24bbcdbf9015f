/**
 * Features of VGG16 and Xception with hashed weights, compared with Keras', in float64. ResNet152V2 has its own file.
 */

import { describe, expect, it } from 'vitest'
import { planOf } from '../src/autograd/tensors.ts'
import { freeze } from '../src/nn/freeze.ts'
import { pretrained } from '../src/nn/models/pretrained.ts'
import { tensor } from '../src/operators/tensor.ts'
import { hashedGains, hashedReader, hashedWeight } from '../src/weights/hashed.ts'
import check from './fixtures/hashed-check.json' with { type: 'json' }
import { useDevice } from './support/device.ts'
import { featureErrors, kerasFeatures } from './support/keras-features.ts'

const device = useDevice()

it('hashed weights equal those of the references', () => {
  const kernel = hashedWeight('conv1/kernel', [1, 1, 6, 8], 1)
  expect([...kernel.subarray(0, 8)]).toEqual(check['conv1/kernel first 8'])
})

describe.each([
  ['vgg16', 32],
  ['xception', 71],
  ['xception', 96],
] as const)('%s at %i pixels', (name, size) => {
  const { build, preprocessing } = pretrained[name]

  it.each(['as it is', 'frozen'])('gives the features of the reference, %s', async (form) => {
    const model = build({ size, pooling: 'avg' })
    using used = form === 'frozen' ? freeze(model) : model
    await used.load(device(), hashedReader(hashedGains[name]))
    for (const [layer, error] of await featureErrors(used, preprocessing, kerasFeatures(name, 'hashed', size)))
      expect(error, layer).toBeLessThan(2e-5)
  })
})

it('a frozen Xception has no kernel that only normalises, and a separate relu only for sums that are read twice', () => {
  const x = tensor(new Float32Array(71 * 71 * 3), [1, 71, 71, 3])
  const frozen = freeze(pretrained.xception.build({ size: 71, pooling: 'avg' }))
  const counts = new Map<string, number>()
  for (const { label } of planOf([frozen.call(x)], { device: device() }).dispatches) {
    const family = label.replace(/\/.*/, '')
    counts.set(family, (counts.get(family) ?? 0) + 1)
  }
  expect(Object.fromEntries(counts)).toEqual({
    // One of them by Winograd's algorithm: two transforms, and a product.
    conv2d: 7,
    matmul: 35,
    depthwise: 34,
    maxPool: 4,
    'elementwise.add': 12,
    'elementwise.relu': 11,
    'reduce.sum': 1,
  })
})
