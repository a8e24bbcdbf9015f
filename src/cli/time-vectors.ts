/**
 * `weftgrad time-vectors`, a command for `weftgrad setup` only: times a small, fixed piece of the work that weftgrad
 * does, on the software driver, and prints milliseconds and the size of subgroups.
 */
import { valueAndGrad } from '../autograd/grad.ts'
import { evaluate, keep } from '../autograd/tensors.ts'
import { open } from '../gpu/node/open.ts'
import { conv2d } from '../operators/conv2d.ts'
import { softmaxCrossEntropy } from '../operators/cross-entropy.ts'
import { dense } from '../operators/dense.ts'
import { matmul } from '../operators/matmul.ts'
import { reshape } from '../operators/movement.ts'
import { maxPool } from '../operators/pool.ts'
import { mean } from '../operators/reduce.ts'
import { type Tensor, tensor } from '../operators/tensor.ts'
import { Random } from '../random.ts'
import { openTerminal } from './terminal.ts'

const samples = 8

export async function timeVectorsCommand(): Promise<void> {
  const device = await open({ provision: false, log: () => {} })
  const convolutions = await timeOf(await gradients())
  const product = await timeOf(await products())
  // The geometric mean: each counts for its ratio, however long it takes.
  openTerminal({ json: true }).json({ ms: Math.sqrt(convolutions * product), lanes: device.subgroups.size })
}

/** The least time, in ms, of work that has run before. */
async function timeOf(work: () => Promise<unknown>): Promise<number> {
  await work()
  let least = Number.POSITIVE_INFINITY
  for (let sample = 0; sample < samples; sample++) {
    const start = performance.now()
    await work()
    least = Math.min(least, performance.now() - start)
  }
  return least
}

const random = new Random(1)

async function randomTensor(...shape: readonly number[]): Promise<Tensor> {
  const size = shape.reduce((product, extent) => product * extent, 1)
  const [kept] = await keep([
    tensor(
      Float32Array.from({ length: size }, () => random.uniform() - 0.5),
      shape,
    ),
  ])
  if (kept === undefined) throw new TypeError('nothing was kept')
  return kept
}

/** The loss and gradients of LeNet-5's second convolution and its pooling, under one dense layer. */
async function gradients(): Promise<() => Promise<unknown>> {
  const batch = 128
  const images = await randomTensor(batch, 14, 14, 6)
  const kernel = await randomTensor(5, 5, 6, 16)
  const weights = await randomTensor(400, 10)
  const labels = tensor(Uint32Array.from({ length: batch }, (_, i) => i % 10))
  const step = valueAndGrad((k: Tensor, w: Tensor, x: Tensor): Tensor => {
    const pooled = maxPool(conv2d(x, k, undefined, { activation: 'relu' }), { poolSize: 2 })
    return softmaxCrossEntropy(dense(reshape(pooled, [batch, 400]), w), labels)
  })
  return () => {
    const [loss, slopes] = step(kernel, weights, images)
    return evaluate([loss, ...slopes.map((slope) => mean(slope))])
  }
}

/** Four products of matrices with 512 rows and columns, one after the other. */
async function products(): Promise<() => Promise<unknown>> {
  const a = await randomTensor(512, 512)
  return () => evaluate([mean([1, 2, 3, 4].reduce((product) => matmul(product, a), a))])
}
