/** Pixels in, predictions out. */

import { describe, expect, it } from 'vitest'
import { gradCheck } from '../src/autograd/grad.ts'
import { planOf } from '../src/autograd/tensors.ts'
import { decodePredictions, preprocessInput } from '../src/nn/preprocessing.ts'
import { mul, sum } from '../src/operators/index.ts'
import { type Tensor, tensor } from '../src/operators/tensor.ts'
import { useDevice } from './support/device.ts'

const near = (x: number): unknown => expect.closeTo(x, 4)

describe('preprocessing', () => {
  const device = useDevice()
  const rgb = tensor([255, 0, 127.5, 10, 20, 30], [1, 1, 2, 3])
  const grey = tensor([255, 10], [1, 1, 2, 1])

  it("'tf' maps pixels to [-1, 1]", async () => {
    const y = await preprocessInput(rgb, 'tf').data({ device: device() })
    expect([...y]).toEqual([1, -1, 0, 10 / 127.5 - 1, 20 / 127.5 - 1, 30 / 127.5 - 1].map(near))
  })

  it("'caffe' puts blue first and subtracts ImageNet's means", async () => {
    const y = await preprocessInput(rgb, 'caffe').data({ device: device() })
    expect([...y]).toEqual(
      [127.5 - 103.939, 0 - 116.779, 255 - 123.68, 30 - 103.939, 20 - 116.779, 10 - 123.68].map(near),
    )
  })

  it("'torch' scales by ImageNet's means and deviations, '0..1' by 255, 'none' not at all", async () => {
    const numbers = async (mode: 'torch' | '0..1' | 'none') => [
      ...(await preprocessInput(rgb, mode).data({ device: device() })),
    ]
    const [mean, deviation] = [
      [0.485, 0.456, 0.406],
      [0.229, 0.224, 0.225],
    ]
    const pixels = [255, 0, 127.5, 10, 20, 30]
    expect(await numbers('torch')).toEqual(
      pixels.map((pixel, i) => near((pixel / 255 - (mean?.[i % 3] ?? 0)) / (deviation?.[i % 3] ?? 0))),
    )
    expect(await numbers('0..1')).toEqual(pixels.map((pixel) => near(pixel / 255)))
    expect(await numbers('none')).toEqual(pixels)
  })

  it('repeats grey images to three channels, all in one kernel', async () => {
    for (const mode of ['caffe', 'tf', 'torch', '0..1'] as const) {
      const y = preprocessInput(grey, mode)
      expect(y.shape).toEqual([1, 1, 2, 3])
      expect(planOf([y], { device: device() }).dispatches).toHaveLength(1)
      const repeated = preprocessInput(tensor([255, 255, 255, 10, 10, 10], [1, 1, 2, 3]), mode)
      expect([...(await y.data())]).toEqual([...(await repeated.data())])
    }
  })

  it('can be differentiated', async () => {
    for (const mode of ['caffe', 'tf', 'torch'] as const) {
      const weights = tensor([1, -2, 3])
      const f = (x: Tensor): Tensor => sum(mul(preprocessInput(x, mode), weights))
      expect((await gradCheck(f, [rgb], { epsilon: 1, device: device() })).error, mode).toBeLessThan(1e-3)
    }
  })

  it('refuses inputs that are not images, and unknown modes', () => {
    expect(() => preprocessInput(tensor([1, 2, 3]), 'tf')).toThrow(expect.objectContaining({ code: 'shape' }))
    expect(() => preprocessInput(tensor([1, 2], [1, 1, 1, 2]), 'tf')).toThrow(
      expect.objectContaining({ code: 'shape' }),
    )
    expect(() => preprocessInput(rgb, 'pytorch' as 'torch')).toThrow(expect.objectContaining({ code: 'argument' }))
  })
})

describe('decoding predictions', () => {
  const index = { '1': ['n02', 'goldfish'], '0': ['n01', 'tench'], '2': ['n03', 'shark'] }

  it('lists the most likely classes of each image, most likely first', () => {
    const rows = decodePredictions(Float32Array.of(0.25, 0.125, 0.625, 0.5, 0.5, 0), index, { top: 2 })
    expect(rows).toEqual([
      [
        { index: 2, classId: 'n03', className: 'shark', probability: 0.625 },
        { index: 0, classId: 'n01', className: 'tench', probability: 0.25 },
      ],
      [
        { index: 0, classId: 'n01', className: 'tench', probability: 0.5 },
        { index: 1, classId: 'n02', className: 'goldfish', probability: 0.5 },
      ],
    ])
    expect(decodePredictions(Float32Array.of(0, 1, 0), index)).toHaveLength(1)
  })

  it('refuses a malformed class index, and probabilities of another number of classes', () => {
    const three = Float32Array.of(1, 0, 0)
    for (const wrong of [
      null,
      [],
      {},
      'x',
      { '0': ['n01'] },
      { '0': ['n01', 'tench'], '2': ['n03', 'shark'] },
      { '0': [1, 2] },
    ])
      expect(() => decodePredictions(three, wrong), JSON.stringify(wrong)).toThrow(
        expect.objectContaining({ code: 'format' }),
      )
    expect(() => decodePredictions(Float32Array.of(1, 0), index)).toThrow(expect.objectContaining({ code: 'argument' }))
    expect(() => decodePredictions(new Float32Array(), index)).toThrow(expect.objectContaining({ code: 'argument' }))
    expect(() => decodePredictions(three, index, { top: 0 })).toThrow(expect.objectContaining({ code: 'argument' }))
  })
})
