/**
 * Xception: figure 5 of Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions", 2017. Layers have
 * Keras' names. Its preprocessing is 'tf'.
 */

import type { Layer } from '../layers.ts'
import { activation, add, batchNormalization, conv2d, maxPooling2d, separableConv2d } from '../layers.ts'
import type { Model, ModelOptions } from '../model.ts'
import type { Place } from '../wiring.ts'
import { Wiring } from '../wiring.ts'
import type { PretrainedOptions } from './pretrained-options.ts'
import { averagedEnd, checkedOptions, numbered, unnamedPools } from './pretrained-options.ts'

export const xceptionSizes = { smallest: 71, usual: 299 } as const

const relu = (name: string): Layer => activation(name, 'relu')

const convolution = (name: string, filters: number, strides: number): Layer[] => [
  conv2d(name, filters, 3, { strides, useBias: false }),
  batchNormalization(`${name}_bn`),
  relu(`${name}_act`),
]

const separable = (name: string, filters: number): Layer[] => [
  separableConv2d(name, filters, 3, { padding: 'same', useBias: false }),
  batchNormalization(`${name}_bn`),
]

/**
 * Xception: figure 5 of Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions", 2017. Input [299,
 * 299, 3] by default, preprocessed as 'tf'; 20,861,480 parameters, or 22,910,480 with the classifier. Layers have
 * Keras' names.
 * @throws WeftgradError 'argument' for images smaller than 71x71, or other unsupported options.
 */
export function xception(options: PretrainedOptions = {}, modelOptions: ModelOptions = {}): Model {
  const checked = checkedOptions('xception', xceptionSizes, options)
  const net = new Wiring()
  let [shortcuts, sums] = [0, 0]

  /** Two separable convolutions and a pool, parallel to a 1x1 convolution; both halve the images. */
  const downsampling = (x: Place, block: string, before: number, after: number): Place => {
    const main = net.chain(
      x,
      // The input of block 2 is already rectified.
      ...(block === 'block2' ? [] : [relu(`${block}_sepconv1_act`)]),
      ...separable(`${block}_sepconv1`, before),
      relu(`${block}_sepconv2_act`),
      ...separable(`${block}_sepconv2`, after),
    )
    const unnamed = shortcuts++
    const name = numbered('conv2d', unnamed)
    const shortcut = net.chain(x, conv2d(name, after, 1, { strides: 2, padding: 'same', useBias: false }))
    const pooled = net.chain(main, maxPooling2d(`${block}_pool`, { poolSize: 3, strides: 2, padding: 'same' }))
    const normalized = net.chain(shortcut, batchNormalization(numbered('batch_normalization', unnamed)))
    return net.merge(add(numbered('add', sums++)), pooled, normalized)
  }

  /** Three separable convolutions parallel to the identity. */
  const residual = (x: Place, block: string): Place => {
    const units = [1, 2, 3].flatMap((i) => [
      relu(`${block}_sepconv${i}_act`),
      ...separable(`${block}_sepconv${i}`, 728),
    ])
    return net.merge(add(numbered('add', sums++)), net.chain(x, ...units), x)
  }

  // Entry flow.
  let x = net.chain(net.input, ...convolution('block1_conv1', 32, 2), ...convolution('block1_conv2', 64, 1))
  x = downsampling(x, 'block2', 128, 128)
  x = downsampling(x, 'block3', 256, 256)
  x = downsampling(x, 'block4', 728, 728)
  // Middle flow.
  for (let block = 5; block <= 12; block++) x = residual(x, `block${block}`)
  // Exit flow.
  x = downsampling(x, 'block13', 728, 1024)
  x = net.chain(x, ...separable('block14_sepconv1', 1536), relu('block14_sepconv1_act'))
  x = net.chain(x, ...separable('block14_sepconv2', 2048), relu('block14_sepconv2_act'))
  net.chain(x, ...averagedEnd(checked, unnamedPools))
  return net.model('xception', checked.inputShape, modelOptions)
}
