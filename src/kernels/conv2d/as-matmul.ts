/**
 * Runs convolutions that are plain matrix products: those whose windows are contiguous in memory and do not overlap.
 * That is a 1x1 kernel at stride 1, or a kernel as large as the image. Nothing has to be gathered, so all operands are
 * read in long vectors:
 * - forward:          [output pixels, taps] x [taps, filters]
 * - input gradient:   [output pixels, filters] x [taps, filters] transposed
 * - filter gradient:  [output pixels, taps] transposed x [output pixels, filters]
 *
 * The matmul kernels are faster here than the best convolution variant (1x1, 64 channels and filters on lavapipe,
 * GFLOP/s): forward 21 against 18, input gradient 20 against 13, filter gradient 26 against 19.
 */

import type { MatmulKey } from '../matmul/key.ts'
import type { Conv2dKey } from './plain.ts'
import type { ConvProduct } from './workgroup.ts'

/** Whether the windows of a convolution are the rows of its image as a matrix. */
function isPlainProduct(key: Conv2dKey): boolean {
  const { inputHeight, inputWidth, outHeight, outWidth, kernelHeight, kernelWidth, strides, dilation } = key
  if (key.groups !== 1 || key.padTop !== 0 || key.padLeft !== 0) return false
  const isUnit = kernelHeight * kernelWidth * strides[0] * strides[1] === 1
  if (isUnit) return outHeight === inputHeight && outWidth === inputWidth
  const isDense = dilation[0] === 1 && dilation[1] === 1
  return isDense && outHeight * outWidth === 1 && kernelHeight === inputHeight && kernelWidth === inputWidth
}

/** The matrix product that computes the convolution, if there is one. */
export function matmulOf(product: ConvProduct, key: Conv2dKey): MatmulKey | undefined {
  if (!isPlainProduct(key)) return undefined
  const outPixels = key.batch * key.outHeight * key.outWidth
  const taps = key.kernelHeight * key.kernelWidth * key.channels
  const { filters } = key
  const single = { batch: 1, batchedA: false, batchedB: false, bias: false, activation: 'linear' } as const
  const plain = { ...single, transposeA: false, transposeB: false }
  switch (product) {
    case 'conv2d':
      return {
        ...plain,
        m: outPixels,
        n: filters,
        k: taps,
        bias: key.bias,
        activation: key.activation,
        halfB: key.halfKernel,
      }
    case 'conv2d.inputGradient':
      return { ...plain, m: outPixels, n: taps, k: filters, transposeB: true }
    case 'conv2d.filterGradient':
      return { ...plain, m: taps, n: filters, k: outPixels, transposeA: true }
  }
}
