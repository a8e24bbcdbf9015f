/** Convolutions in groups, and dropout of whole examples. */
import { describe, expect, it } from 'vitest'
import { nn } from '../src/index.ts'
import { describeLayer, layerOf } from '../src/nn/layers/registry.ts'
import { concatenate, ones, slice } from '../src/operators/index.ts'
import type { Tensor } from '../src/operators/tensor.ts'
import { tensor } from '../src/operators/tensor.ts'
import { disagreement } from './support/compare.ts'
import { useDevice } from './support/device.ts'
import { failure } from './support/failure.ts'

const device = useDevice()
const part = (x: Tensor, first: number, count: number): Tensor =>
  slice(x, [...x.shape.slice(1).map(() => 0), first], [...x.shape.slice(0, -1), count])

describe('conv2d', () => {
  it('in groups is a convolution of each part of the channels', async () => {
    const options = { padding: 'same', activation: 'relu' } as const
    using model = nn.sequential('m', [5, 4, 6], [nn.conv2d('c', 4, 3, { ...options, groups: 2 })], { seed: 3 })
    const [kernel, bias] = model.weights.map((weight) => weight.tensor)
    if (kernel === undefined || bias === undefined) throw new Error('it has two weights')
    expect(kernel.shape).toEqual([3, 3, 3, 4])
    const x = tensor(
      Array.from({ length: 2 * 5 * 4 * 6 }, (_, i) => Math.sin(i)),
      [2, 5, 4, 6],
    ) as Tensor
    model.to(device())
    const half = nn.conv2d('h', 2, 3, options)
    const context = { training: false, seed: 1, counter: undefined, update: () => undefined }
    const halves = [0, 1].map((g) =>
      half.call([part(x, 3 * g, 3)], [part(kernel, 2 * g, 2), part(bias, 2 * g, 2)], context),
    )
    const [own, expected] = [await model.call(x).data(), await concatenate(halves, -1).data()]
    expect(disagreement(own, [...expected], { rtol: 1e-5, atol: 1e-6 }, [2, 5, 4, 4])).toBeUndefined()
    using frozen = nn.freeze(model)
    await frozen.load(device(), (weight) => model.read(weight))
    expect(
      disagreement(await frozen.call(x).data(), [...expected], { rtol: 1e-5, atol: 1e-6 }, [2, 5, 4, 4]),
    ).toBeUndefined()
  })

  it('needs channels and filters that divide into the groups', async () => {
    const wrong = () => nn.sequential('m', [5, 5, 4], [nn.conv2d('c', 4, 3, { groups: 3 })])
    expect(await failure(async () => wrong())).toMatchObject({
      code: 'shape',
      message: expect.stringContaining('3 groups'),
    })
  })
})

it('dropout with a noise shape drops whole examples, also after a file described it', async () => {
  const layer = layerOf(describeLayer(nn.dropout('d', 0.5, { noiseShape: [null, 1, 1] })))
  const context = { training: true, seed: 5, counter: undefined, update: () => undefined }
  const y = await layer.call([ones([64, 3, 2])], [], context).data({ device: device() })
  const rows = Array.from({ length: 64 }, (_, i) => [...y.slice(6 * i, 6 * i + 6)])
  for (const row of rows) expect(new Set(row).size).toBe(1)
  expect(new Set(rows.map(([first]) => first))).toEqual(new Set([0, 2]))
})
