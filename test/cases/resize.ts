/** Bilinear resizing: enlarging, shrinking, extents of 1, fractional factors. */
import type { Tensor4D } from '@tensorflow/tfjs'
import { resize } from '../../src/index.ts'
import * as reference from '../reference/index.ts'
import type { Case } from './case.ts'

function resized(
  what: string,
  shape: readonly number[],
  to: readonly [number, number],
  overrides: Partial<Case> = {},
): Case {
  const [height, width] = to
  return {
    name: `resize: ${what}`,
    operator: 'resize',
    inputs: [{ shape, uniform: [-2, 2] }],
    run: (x) => resize(x, { height, width }),
    reference: (x) => reference.resize(x, to),
    tfjs: (tf, x) => tf.image.resizeBilinear(x as Tensor4D, [height, width], false, true),
    differentiable: [0],
    tfjsGradient: "TensorFlow.js' gradient of resizing ignores half-pixel centres",
    ...overrides,
  }
}

/** The position of pixel centres makes no difference here. */
const comparable = { tfjsGradient: true } as const

export const resizeCases: readonly Case[] = [
  resized('to twice the size', [2, 3, 4, 3], [6, 8]),
  resized('to half the size', [2, 6, 8, 1], [3, 4]),
  resized('taller and narrower, by fractional factors', [2, 5, 7, 2], [8, 3]),
  resized('to a tenth, where most pixels are not read', [1, 20, 21, 1], [2, 2]),
  resized('one pixel to many', [2, 1, 1, 5], [3, 4], comparable),
  resized('to one pixel', [2, 4, 5, 3], [1, 1]),
  resized('a row of pixels', [1, 1, 9, 2], [1, 13]),
  resized('to the same size', [2, 3, 3, 2], [3, 3], comparable),
  resized('64 channels', [1, 3, 2, 64], [5, 3]),
  resized('28 to 71, as Xception sees it', [2, 28, 28, 1], [71, 71]),
]
