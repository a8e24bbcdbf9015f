/**
 * A device without WebGPU's own bounds checks: kernels check every index that comes from data, so the same numbers come
 * out; training gives the same bits; operators of a user's own are refused. test/operators.test.ts runs all cases so.
 */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { evaluate } from '../src/autograd/tensors.ts'
import { residentImages } from '../src/data/index.ts'
import type { Device } from '../src/gpu/device.ts'
import { open } from '../src/gpu/node/open.ts'
import {
  defineOp,
  dispatch,
  gather,
  input,
  output,
  reads,
  softmaxCrossEntropy,
  sum,
  tensor,
  valueAndGrad,
  writes,
} from '../src/index.ts'
import { planKernel } from '../src/kernels/kernel.ts'
import type { GatherBatchKey } from '../src/kernels/training/gather-batch.ts'
import { gatherBatch } from '../src/kernels/training/gather-batch.ts'
import { confusion } from '../src/kernels/training/state.ts'
import * as nn from '../src/nn/index.ts'
import type { Tensor } from '../src/operators/tensor.ts'
import { useDevice } from './support/device.ts'
import { runPlan, targetOf } from './support/run-plan.ts'

const checked = useDevice()
let unchecked: Device
beforeAll(async () => {
  unchecked = await open({ boundsChecks: false })
}, 300_000)
afterAll(() => unchecked.dispose())

const hostile = [0, 1, 2, 3, 4, 1000, 2 ** 20, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1]
const bytesOf = (arrays: readonly ArrayBufferView[]): number[][] =>
  arrays.map(({ buffer, byteOffset, byteLength }) => [...new Uint8Array(buffer, byteOffset, byteLength)])

test('says so, on a software adapter only', () => {
  expect(checked().facts.boundsChecks).toBe(true)
  expect(unchecked.facts.boundsChecks).toBe(checked().facts.hardware)
})

test('gathers rows and sums their gradients with indices far out of range as with the checks', async () => {
  const x = tensor(
    Float32Array.from({ length: 12 }, (_, i) => i),
    [4, 3],
  )
  const indices = tensor(Uint32Array.from(hostile), [hostile.length], 'u32')
  const labels = tensor(Uint32Array.from(hostile), [hostile.length], 'u32')
  const gathered = gather(x, indices)
  const rows = softmaxCrossEntropy(gathered, labels, { reduction: 'none' })
  const [, [gradient]] = valueAndGrad((y: Tensor) => sum(gather(y, indices)), [x])(x)
  const run = async (device: Device): Promise<number[][]> =>
    bytesOf(await evaluate([gathered, rows, gradient], { device }))
  expect(await run(unchecked)).toEqual(await run(checked()))
})

test('gathers batches and counts predictions with indices far out of range as with the checks', async () => {
  const key: GatherBatchKey = {
    ...{ datasetCount: 4, height: 2, width: 4, channels: 1, batch: hostile.length },
    ...{ outHeight: 4, outWidth: 8, padTop: 1, padLeft: 2, divisor: 255 },
  }
  const images = Uint8Array.from({ length: 32 }, (_, i) => 8 * i)
  const inputs = [images, Uint32Array.from(hostile), new Uint32Array(4), Uint32Array.from([3, 1, 2, 0])]
  const batch = (device: Device, variant: string) =>
    runPlan(device, planKernel(gatherBatch, key, targetOf(device), variant), inputs, [
      new Float32Array(hostile.length * 32),
      new Uint32Array(hostile.length),
    ])
  for (const { name } of gatherBatch.variants)
    expect(bytesOf(await batch(unchecked, name)), name).toEqual(bytesOf(await batch(checked(), name)))

  const logits = Float32Array.from({ length: 3 * hostile.length }, (_, i) => (i * 7) % 5)
  const counted = (device: Device) =>
    runPlan(
      device,
      planKernel(confusion, { batch: hostile.length, classes: 3 }, targetOf(device)),
      [logits, Uint32Array.from(hostile)],
      [new Uint32Array(9)],
    )
  const [counts = new Uint32Array()] = await counted(unchecked)
  expect([counts]).toEqual(await counted(checked()))
  expect(counts.reduce((a, b) => a + b)).toBe(3)
})

test('trains LeNet-5 to the same bits', { timeout: 120_000 }, async () => {
  const train = async (device: Device): Promise<number[][]> => {
    const images = Uint8Array.from({ length: 96 * 784 }, (_, i) => (i * 2654435761) >>> 24)
    const labels = Uint8Array.from({ length: 96 }, (_, i) => i % 10)
    using data = residentImages(device, { images, labels, height: 28, width: 28, channels: 1, classes: 10 })
    using model = nn.lenet5({}, { seed: 1 })
    await nn.fit(model, data, { optimizer: nn.adam(), epochs: 2, batchSize: 32 })
    return bytesOf([...(await model.weightNumbers()).values()].map(({ data: numbers }) => numbers))
  }
  expect(await train(unchecked)).toEqual(await train(checked()))
})

test('refuses operators of a user', async ({ skip }) => {
  if (unchecked.facts.hardware) skip('hardware keeps the checks')
  const twice = defineOp<[x: Tensor], [y: Tensor]>({
    name: 'twice',
    shape: ([x]) => [x],
    plan: ([x]) => ({
      variant: 'plain',
      scratchBytes: [],
      flops: 4,
      dispatches: [
        dispatch({
          label: 'twice',
          bindings: [reads('x', input(0)), writes('y', output(0))],
          uniforms: { count: x.shape[0] ?? 0 },
          workgroupSize: 8,
          workgroups: 1,
          body: 'if (index < u.count) { y[index] = 2.0 * x[index]; }',
        }),
      ],
    }),
  })
  const [y] = twice(tensor([1, 2, 3, 4]))
  expect(await evaluate([y], { device: checked() })).toEqual([Float32Array.from([2, 4, 6, 8])])
  await expect(evaluate([y], { device: unchecked })).rejects.toMatchObject({ code: 'argument' })
})
