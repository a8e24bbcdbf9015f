/** VGG16, Xception and ResNet152V2, compared with Keras' layer tables, and their options and limits. */

import { describe, expect, it } from 'vitest'
import { planOf } from '../src/autograd/tensors.ts'
import type { Model, PlacedLayer } from '../src/nn/model.ts'
import { pretrained } from '../src/nn/models/pretrained.ts'
import type { PretrainedOptions } from '../src/nn/models/pretrained-options.ts'
import { resnet152v2 } from '../src/nn/models/resnet152v2.ts'
import { vgg16 } from '../src/nn/models/vgg16.ts'
import { xception } from '../src/nn/models/xception.ts'
import { tensor } from '../src/operators/tensor.ts'
import resnetLayout from './fixtures/keras-layouts/resnet152v2.json' with { type: 'json' }
import vggLayout from './fixtures/keras-layouts/vgg16.json' with { type: 'json' }
import xceptionLayout from './fixtures/keras-layouts/xception.json' with { type: 'json' }
import { useDevice } from './support/device.ts'

const layouts = { vgg16: vggLayout, xception: xceptionLayout, resnet152v2: resnetLayout }
const names = ['vgg16', 'xception', 'resnet152v2'] as const

/** A layer as in the tables: its class, its inputs, its output shape, and its weights in the file's order. */
function row(model: Model, { layer, inputs, outputShape, weights }: PlacedLayer): unknown {
  return {
    name: layer.name,
    class: layer.className,
    inputs: inputs.map((i) => model.layers[i]?.layer.name ?? 'input'),
    output: outputShape,
    weights: weights.map(({ name, shape }) => [name.slice(layer.name.length + 1), shape]),
  }
}

function expectedRows(name: (typeof names)[number]): unknown[] {
  const [input, ...layers] = layouts[name].layers
  return layers.map((layer) => ({
    name: layer.name,
    class: layer.class,
    inputs: layer.inputs.map((other) => (other === input?.name ? 'input' : other)),
    output: layer.output,
    weights: layer.weights,
  }))
}

describe.each(names)('%s', (name) => {
  const { build, sizes } = pretrained[name]
  const base = build()

  it("has Keras' layers: names, classes, wiring, output shapes, and weights in order", () => {
    const rows = base.layers.map((placed) => row(base, placed))
    expect(rows).toEqual(expectedRows(name))
    expect(base.parameterCount).toBe(layouts[name].params)
    expect(base.inputShape).toEqual(layouts[name].input)
  })

  it('accepts its smallest images and oblong ones, and refuses smaller ones', () => {
    const { smallest } = sizes
    expect(build({ size: smallest, pooling: 'avg' }).outputShape).toEqual(base.outputShape.slice(-1))
    expect(build({ inputShape: [smallest, smallest + 40, 3], pooling: 'max' }).parameterCount).toBe(base.parameterCount)
    const tooSmall = { code: 'argument', message: expect.stringContaining('too small') }
    expect(() => build({ size: smallest - 1 })).toThrow(expect.objectContaining(tooSmall))
    expect(() => build({ inputShape: [smallest, smallest - 1, 3] })).toThrow(expect.objectContaining(tooSmall))
  })

  it('refuses contradictory and invalid options', () => {
    const wrong: PretrainedOptions[] = [
      { includeTop: true, pooling: 'avg' },
      { size: 224, inputShape: [224, 224, 3] },
      { classes: 10 },
      { includeTop: true, classes: 0 },
      { inputShape: [224, 224] },
      { size: 224.5 },
      { pooling: 'mean' as 'avg' },
    ]
    for (const options of wrong)
      expect(() => build(options), JSON.stringify(options)).toThrow(expect.objectContaining({ code: 'argument' }))
  })
})

describe('classifiers', () => {
  it("have Keras' names and parameter counts", () => {
    const ends = { vgg16: 138_357_544, xception: 22_910_480, resnet152v2: 60_380_648 }
    for (const name of names) {
      const model = pretrained[name].build({ includeTop: true })
      expect(model.parameterCount, name).toBe(ends[name])
      expect(model.layers.at(-1)?.layer.name).toBe('predictions')
      expect(model.outputShape).toEqual([1000])
    }
    const end = (model: Model, count: number): unknown => model.layers.slice(-count).map(({ layer }) => layer.name)
    expect(end(vgg16({ includeTop: true }), 4)).toEqual(['flatten', 'fc1', 'fc2', 'predictions'])
    expect(end(resnet152v2({ includeTop: true, classes: 7 }), 2)).toEqual(['avg_pool', 'predictions'])
    expect(end(resnet152v2({ pooling: 'max' }), 1)).toEqual(['max_pool'])
    expect(end(xception({ pooling: 'max' }), 1)).toEqual(['global_max_pooling2d'])
  })

  it("fixes VGG16's images to 224 pixels, and no other network's", () => {
    expect(() => vgg16({ includeTop: true, size: 256 })).toThrow(expect.objectContaining({ code: 'argument' }))
    expect(xception({ includeTop: true, size: 71 }).outputShape).toEqual([1000])
  })
})

describe('on a device', () => {
  const device = useDevice()

  it('VGG16 with its classifier is planned within the binding limits', () => {
    const model = vgg16({ includeTop: true })
    const plan = planOf([model.call(tensor(new Float32Array(224 * 224 * 3), [1, 224, 224, 3]))], { device: device() })
    const most = Math.max(
      ...plan.dispatches.flatMap(({ operands }) => operands.map((operand) => ('bytes' in operand ? operand.bytes : 0))),
    )
    expect(most).toBeLessThanOrEqual(128 * 2 ** 20)
    // fc1's four blocks of rows, fc2, predictions.
    expect(plan.choices.filter(({ family }) => family === 'matmul')).toHaveLength(6)
  })

  it("VGG16's activations at 224 pixels and a batch of 8 take two of the largest, and what Winograd's algorithm needs", () => {
    const model = vgg16({ pooling: 'avg' })
    const x = tensor(new Float32Array(8 * 224 * 224 * 3), [8, 224, 224, 3])
    const { arenaBytes } = planOf([model.call(x)], { device: device() })
    const largest = 8 * 224 * 224 * 64 * 4
    // Transformed images and products of a pass, and the largest transformed filters.
    const scratch = 2 * 16 * 2 ** 20 + 16 * 512 * 512 * 4
    expect(arenaBytes.reduce((sum, bytes) => sum + bytes)).toBeLessThanOrEqual(2.1 * largest + scratch)
  })

  it('computes nothing beyond the deepest requested layer', () => {
    const model = vgg16({ size: 32 })
    const x = tensor(new Float32Array(32 * 32 * 3), [1, 32, 32, 3])
    const kernels = (names: readonly string[]): number =>
      planOf(model.features(x, names), { device: device() }).choices.length
    expect(kernels(['block1_conv1'])).toBe(1)
    expect(kernels(['block2_pool', 'block1_conv2'])).toBe(6)
    expect(model.features(x, ['block2_pool', 'block1_conv2']).map(({ shape }) => shape)).toEqual([
      [1, 8, 8, 128],
      [1, 32, 32, 64],
    ])
  })

  it('suggests the names closest to an unknown layer', () => {
    const x = tensor(new Float32Array(32 * 32 * 3), [1, 32, 32, 3])
    const tap = (name: string) => () => vgg16({ size: 32 }).features(x, [name])
    expect(tap('block5_conv4')).toThrow(
      expect.objectContaining({
        code: 'argument',
        message: expect.stringMatching(/no layer 'block5_conv4'; did you mean block[0-9]_conv[0-9], .*\?/),
      }),
    )
    expect(tap('Block5_Pool')).toThrow('did you mean block5_pool')
    expect(tap('pool5')).toThrow(expect.objectContaining({ code: 'argument' }))
    expect(tap('')).toThrow(expect.objectContaining({ code: 'argument' }))
  })
})
