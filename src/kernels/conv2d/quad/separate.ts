/**
 * The pooled convolution and its gradients in several kernels, those that the graph would run without fusion: whole
 * images pass from one to the next through scratch memory. Which is faster depends on the GPU, so tuning measures both.
 * Codes are those of the fused kernels, so each of the three may be fused or not.
 */

import type { KernelPlan, Operand, Target, Variant } from '../../kernel.ts'
import { input, output, placed, planKernel, scratch, surelyBoundBytes } from '../../kernel.ts'
import { matmul } from '../../matmul/matmul.ts'
import type { PoolKey } from '../../pool/pool.ts'
import { maxPool, maxPoolGradient, maxPoolOfRelu } from '../../pool/pool.ts'
import { reduce } from '../../reduce/reduce.ts'
import { triesSeparateKernels } from '../../schedule/occupancy.ts'
import { matmulOf } from '../as-matmul.ts'
import { conv2dFamilies } from '../conv2d.ts'
import type { Conv2dKey } from '../plain.ts'
import type { ConvProduct } from '../workgroup.ts'
import { suitsPixels } from './pixels.ts'
import type { Conv2dPoolKey } from './quad.ts'
import { deadCode, pooledExtents } from './quad.ts'

/** The images between convolution and pooling, without the last row or column if pooling drops it. */
function wholeExtents(key: Conv2dKey) {
  const { pooledHeight, pooledWidth, quads } = pooledExtents(key)
  return { height: 2 * pooledHeight, width: 2 * pooledWidth, pixels: 4 * quads, bytes: 16 * quads * key.filters }
}

function poolOf(key: Conv2dKey): PoolKey {
  const { pooledHeight, pooledWidth } = pooledExtents(key)
  const { height, width } = wholeExtents(key)
  return {
    ...{ batch: key.batch, channels: key.filters, inputHeight: height, inputWidth: width },
    ...{ kernelHeight: 2, kernelWidth: 2, outHeight: pooledHeight, outWidth: pooledWidth },
    ...{ strides: [2, 2], dilation: [1, 1], padTop: 0, padLeft: 0 },
  }
}

/** One of the kernels, with its operands. */
interface Part {
  readonly plan: KernelPlan
  readonly input: readonly Operand[]
  readonly output: readonly Operand[]
}

/** Makes a variant of a kernel for the convolution itself, and those that `partsOf` puts around it, in order. */
function separate(
  product: ConvProduct,
  partsOf: (convolution: KernelPlan, whole: Operand, key: Conv2dPoolKey, target: Target) => readonly Part[],
): Variant<Conv2dPoolKey, 'separate'> {
  return {
    name: 'separate',
    supports: (key, target) =>
      triesSeparateKernels(target) && suitsPixels(key, target) && wholeExtents(key).bytes <= surelyBoundBytes,
    plan(key, target) {
      const { height, width, bytes } = wholeExtents(key)
      const convolved = { ...key, outHeight: height, outWidth: width }
      const asProduct = matmulOf(product, convolved)
      const convolution =
        asProduct === undefined
          ? planKernel(conv2dFamilies[product], convolved, target)
          : planKernel(matmul, asProduct, target)
      // The convolution's own scratch memory comes first, so that a program can take over its last sum.
      const scratchBytes = [...convolution.scratchBytes, bytes]
      const whole = scratch(convolution.scratchBytes.length)
      const dispatches = partsOf(convolution, whole, key, target).flatMap(({ plan, ...operands }) => {
        if (plan === convolution) return placed(plan, operands, 0)
        const own = placed(plan, operands, scratchBytes.length)
        scratchBytes.push(...plan.scratchBytes)
        return own
      })
      return { variant: 'separate', flops: pooledExtents(key).flops, dispatches, scratchBytes }
    },
  }
}

/** Spreads the gradient of the pooled output over the whole images: no position has the code of a dead element. */
const unpool = (key: Conv2dPoolKey, target: Target, pooled: readonly Operand[], whole: Operand): Part => ({
  ...{ plan: planKernel(maxPoolGradient, poolOf(key), target), input: pooled, output: [whole] },
})

export const separateForward = /* @__PURE__ */ separate('conv2d', (convolution, whole, key, target) => {
  const pool = key.activation === 'relu' ? maxPoolOfRelu(deadCode) : maxPool
  return [
    { plan: convolution, input: [input(0), input(1), input(2)], output: [whole] },
    { plan: planKernel(pool, poolOf(key), target), input: [whole], output: [output(0), output(1)] },
  ]
})

export const separateInputGradient = /* @__PURE__ */ separate(
  'conv2d.inputGradient',
  (convolution, whole, key, target) => [
    unpool(key, target, [input(0), input(1)], whole),
    { plan: convolution, input: [whole, input(2)], output: [output(0)] },
  ],
)

export const separateFilterGradient = /* @__PURE__ */ separate(
  'conv2d.filterGradient',
  (convolution, whole, key, target) => {
    const shape = [wholeExtents(key).pixels, key.filters]
    return [
      unpool(key, target, [input(1), input(2)], whole),
      {
        ...{ plan: planKernel(reduce, { operation: 'sum', shape, axes: [0] }, target) },
        ...{ input: [whole], output: [output(1)] },
      },
      { plan: convolution, input: [input(0), whole], output: [output(0)] },
    ]
  },
)
