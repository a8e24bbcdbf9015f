/** Layers that TensorFlow.js lacks, against Keras: test/fixtures/keras-layers/write.py wrote its results. */
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { layerOf } from '../src/nn/layers/registry.ts'
import { type Tensor, tensor } from '../src/operators/tensor.ts'
import { disagreement } from './support/compare.ts'
import { useDevice } from './support/device.ts'

interface Numbers {
  readonly shape: number[]
  readonly data: number[]
}

interface LayerCase {
  readonly name: string
  readonly className: string
  readonly config: Readonly<Record<string, unknown>>
  readonly inputs: readonly Numbers[]
  readonly weights: readonly (Numbers & { readonly name: string })[]
  readonly output: Numbers
}

const fixture = new URL('fixtures/keras-layers/layers.json', import.meta.url)
const { cases, training } = JSON.parse(readFileSync(fixture, 'utf8')) as {
  readonly cases: readonly LayerCase[]
  readonly training: {
    readonly config: LayerCase['config']
    readonly input: Numbers
    readonly weights: readonly Numbers[]
    readonly after: readonly Numbers[]
    readonly output: Numbers
  }
}

const device = useDevice()

describe('a layer built from its config has the weights and results of Keras', () => {
  it.each(cases.map((one) => [`${one.className}: ${one.name}`, one] as const))(
    '%s',
    async (_, { className, config, inputs, weights, output }) => {
      const layer = layerOf({ className, name: 'layer', config })
      const shapes = inputs.map(({ shape }) => shape.slice(1))
      const specs = layer.weights(shapes)
      expect(specs.map(({ name, shape }) => ({ name, shape }))).toEqual(
        weights.map(({ name, shape }) => ({ name, shape })),
      )
      expect(layer.outputShape(shapes)).toEqual(output.shape.slice(1))
      const given = ({ shape, data }: Numbers) => tensor(data, shape)
      const context = { training: false, seed: 1, counter: undefined, update: () => undefined }
      const y = layer.call(inputs.map(given), weights.map(given), context)
      expect(y.shape).toEqual(output.shape)
      const own = await y.data({ device: device() })
      expect(disagreement(own, output.data, { rtol: 1e-5, atol: 2e-6 }, y.shape)).toBeUndefined()
    },
  )
})

it("in training, batch normalization moves its statistics as Keras' does: by the variance that is not corrected for bias", async () => {
  const layer = layerOf({ className: 'BatchNormalization', name: 'layer', config: training.config })
  const given = ({ shape, data }: Numbers) => tensor(data, shape)
  const moved: Tensor[] = []
  const context = {
    training: true,
    seed: 1,
    counter: undefined,
    update: (_: Tensor, value: Tensor) => moved.push(value),
  }
  const y = layer.call([given(training.input)], training.weights.map(given), context)
  const expected = [...training.after, training.output]
  for (const [i, own] of [...moved, y].entries()) {
    const data = await own.data({ device: device() })
    expect(disagreement(data, expected[i]?.data ?? [], { rtol: 1e-5, atol: 2e-6 }, own.shape)).toBeUndefined()
  }
  expect(moved).toHaveLength(2)
})
