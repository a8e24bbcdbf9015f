/**
 * Convolutions that are plain matrix products, by the kernels of matmul/matmul.ts: where each window is one run of memory and
 * windows do not overlap. That is a 1x1 kernel at stride 1, or a kernel as large as the image. Nothing is gathered, so all
 * operands are read in long vectors:
 * - forward:          [output pixels, taps] x [taps, filters]
 * - input gradient:   [output pixels, filters] x [taps, filters] transposed
 * - filter gradient:  [output pixels, taps] transposed x [output pixels, filters]
 */

import type { Variant } from '../kernel.ts'
import { planKernel } from '../kernel.ts'
import type { MatmulKey } from '../matmul/matmul.ts'
import { matmul } from '../matmul/matmul.ts'
import type { Conv2dKey } from './plain.ts'
import { conv2dSupports } from './plain.ts'
import type { ConvProduct } from './workgroup.ts'

/** Whether the windows of a convolution without padding are the rows of its image as a matrix. */
function isPlainProduct(key: Conv2dKey): boolean {
  const { inputHeight, inputWidth, outHeight, outWidth, kernelHeight, kernelWidth, strides, dilation } = key
  const isUnit = kernelHeight * kernelWidth * strides[0] * strides[1] === 1
  if (isUnit) return outHeight === inputHeight && outWidth === inputWidth
  const isDense = dilation[0] === 1 && dilation[1] === 1
  return isDense && outHeight * outWidth === 1 && kernelHeight === inputHeight && kernelWidth === inputWidth
}

function productKey(product: ConvProduct, key: Conv2dKey): MatmulKey {
  const outPixels = key.batch * key.outHeight * key.outWidth
  const taps = key.kernelHeight * key.kernelWidth * key.channels
  const { filters } = key
  const single = { batch: 1, batchedA: false, batchedB: false, bias: false, activation: 'linear' } as const
  const plain = { ...single, transposeA: false, transposeB: false }
  switch (product) {
    case 'conv2d':
      return { ...plain, m: outPixels, n: filters, k: taps, bias: key.bias, activation: key.activation }
    case 'conv2d.inputGradient':
      return { ...plain, m: outPixels, n: taps, k: filters, transposeB: true }
    case 'conv2d.filterGradient':
      return { ...plain, m: taps, n: filters, k: outPixels, transposeA: true }
  }
}

export function convByProduct(product: ConvProduct): Variant<Conv2dKey, 'product'> {
  return {
    name: 'product',
    supports: conv2dSupports(
      { strides: true, dilation: true, padTop: false, padLeft: false, bias: true, activation: true },
      isPlainProduct,
    ),
    plan(key, target) {
      const plan = planKernel(matmul, productKey(product, key), target)
      const dispatches = plan.dispatches.map((d) => ({ ...d, label: d.label.replace('matmul', `${product}/product`) }))
      return { ...plan, variant: 'product', dispatches }
    },
  }
}
