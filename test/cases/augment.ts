/** Affine maps of images: turned, scaled, mirrored and moved ones, and maps that leave the image. */
import type { Tensor2D, Tensor4D } from '@tensorflow/tfjs'
import { affineTransform } from '../../src/operators/augment.ts'
import * as reference from '../reference/index.ts'
import type { Case } from './case.ts'
import { forwardOnly } from './case.ts'

type Map = readonly [number, number, number, number, number, number]

const [cos, sin] = [Math.cos(0.3), Math.sin(0.3)]

function transformed(
  what: string,
  image: readonly [number, number, number, number],
  maps: readonly Map[],
  to: readonly [number, number] = [image[1], image[2]],
  fillValue = 0,
): Case {
  const [outHeight, outWidth] = to
  return {
    name: `affineTransform: ${what}`,
    operator: 'affineTransform',
    inputs: [
      { shape: image, uniform: [-1, 1] },
      // Two more numbers to a row, as in TensorFlow's projective maps.
      { shape: [image[0], 8], values: maps.flatMap((map) => [...map, 0, 0]) },
    ],
    run: (x, transforms) => affineTransform(x, transforms, { outHeight, outWidth, fillValue }),
    reference: (x, transforms) => reference.affineTransform(x, transforms, to, fillValue),
    // One by one: TensorFlow.js 4.22 gives 0 for all images of a batch but the first.
    tfjs: (tf, x, transforms) =>
      tf.concat(
        tf.split(x, image[0]).map((one, i) => {
          const map = tf.slice(transforms as Tensor2D, i, 1)
          return tf.image.transform(one as Tensor4D, map, 'bilinear', 'constant', fillValue, [outHeight, outWidth])
        }),
      ),
    ...forwardOnly,
    tfjsGradient: 'a change of inputs, which needs no gradient',
  }
}

export const augmentCases: readonly Case[] = [
  transformed(
    'nothing changes',
    [2, 5, 4, 3],
    [
      [1, 0, 0, 0, 1, 0],
      [1, 0, 0, 0, 1, 0],
    ],
  ),
  transformed(
    'mirrored, and moved by whole pixels',
    [2, 4, 7, 1],
    [
      [-1, 0, 6, 0, 1, 0],
      [1, 0, -2, 0, -1, 5],
    ],
  ),
  transformed(
    'turned around the centre',
    [1, 9, 9, 2],
    [[cos, -sin, 4 - 4 * cos + 4 * sin, sin, cos, 4 - 4 * sin - 4 * cos]],
  ),
  transformed('smaller, with a value outside', [1, 8, 6, 1], [[1.7, 0.1, -1.3, -0.2, 1.6, -2.4]], [8, 6], 0.5),
  transformed('a larger result', [1, 3, 4, 3], [[0.4, 0.03, -0.3, 0.02, 0.35, 0.1]], [7, 9], -2),
  transformed(
    'a window',
    [2, 8, 9, 1],
    [
      [1, 0, 3, 0, 1, 2],
      [1, 0, 0, 0, 1, 4],
    ],
    [4, 5],
  ),
  transformed('everything outside', [1, 3, 3, 1], [[1, 0, 1e9, 0, 1, -1e9]], [3, 3], 0.25),
  transformed('64 channels', [1, 3, 2, 64], [[0.9, 0.2, 0.1, -0.2, 0.9, 0.3]]),
]
