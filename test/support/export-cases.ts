/** Models to write in other tools' formats: one for each kind of layer and setting, and whole networks. */
import { gelu, hardSigmoid, hardSilu, mish, relu6, selu, silu, softplus } from '../../src/index.ts'
import * as nn from '../../src/nn/index.ts'
import { Random } from '../../src/random.ts'

export interface ExportCase {
  readonly name: string
  readonly build: () => nn.Model
}

const chain = (shape: readonly number[], ...layers: nn.Layer[]) => nn.sequential('net', shape, layers)

/** A model whose two branches meet in a layer. */
function merged(layer: nn.Layer, shape: readonly number[] = [5, 4, 3], other = nn.activation('tanh')): nn.Model {
  const net = new nn.Wiring()
  net.merge(layer, net.input, net.chain(net.input, other))
  return net.model('net', shape)
}

const functions = { gelu, hardSigmoid, hardSilu, mish, relu6, selu, silu, softplus }
const image = [7, 6, 4] as const
const sequence = [7, 6] as const

const layers: Readonly<Record<string, () => nn.Model>> = {
  ...Object.fromEntries(
    (['linear', 'relu', 'sigmoid', 'tanh', 'softmax'] as const).map((kind) => [
      `Activation: ${kind}`,
      () => chain(sequence, nn.activation(kind)),
    ]),
  ),
  ...Object.fromEntries(
    Object.entries(functions).map(([kind, own]) => [`Activation: ${kind}`, () => chain(sequence, nn.activation(own))]),
  ),
  'Activation: softmax of images': () => chain(image, nn.activation('softmax')),
  'Softmax of images': () => chain(image, nn.softmax()),
  Add: () => merged(nn.add()),
  'Add: an extent of 1 repeats': () => merged(nn.add(), [5, 4, 3], nn.conv2d(1, 1)),
  Average: () => merged(nn.average()),
  Maximum: () => merged(nn.maximum()),
  Minimum: () => merged(nn.minimum()),
  Multiply: () => merged(nn.multiply()),
  Subtract: () => merged(nn.subtract()),
  Concatenate: () => merged(nn.concatenate()),
  'Concatenate: rows': () => merged(nn.concatenate({ axis: 1 })),
  AveragePooling2D: () => chain(image, nn.averagePooling2d({ poolSize: [3, 2], strides: 2 })),
  'AveragePooling2D: same': () => chain(image, nn.averagePooling2d({ poolSize: 3, strides: 2, padding: 'same' })),
  MaxPooling2D: () => chain(image, nn.maxPooling2d()),
  'MaxPooling2D: same': () => chain(image, nn.maxPooling2d({ poolSize: 3, strides: [2, 1], padding: 'same' })),
  GlobalAveragePooling2D: () => chain(image, nn.globalAveragePooling2d()),
  GlobalMaxPooling2D: () => chain(image, nn.globalMaxPooling2d()),
  GlobalAveragePooling1D: () => chain(sequence, nn.globalAveragePooling1d()),
  GlobalMaxPooling1D: () => chain(sequence, nn.globalMaxPooling1d()),
  BatchNormalization: () => chain(image, nn.batchNormalization({ epsilon: 1e-2 })),
  'BatchNormalization of rows, without scale': () => chain([6], nn.batchNormalization({ scale: false })),
  'BatchNormalization of sequences, without offset': () => chain(sequence, nn.batchNormalization({ center: false })),
  LayerNormalization: () => chain(sequence, nn.layerNormalization()),
  'LayerNormalization of images, without offset': () => chain(image, nn.layerNormalization({ center: false })),
  'LayerNormalization without weights': () => chain(image, nn.layerNormalization({ center: false, scale: false })),
  GroupNormalization: () => chain(image, nn.groupNormalization({ groups: 2, epsilon: 1e-2 })),
  'GroupNormalization of rows': () => chain([6], nn.groupNormalization({ groups: 3 })),
  Normalization: () => chain(sequence, nn.normalization()),
  'Normalization of images': () => chain(image, nn.normalization()),
  'Normalization by fixed numbers': () =>
    chain(image, nn.normalization({ mean: [0.1, 0.2, 0.3, 0.4].slice(0, image.at(-1)), variance: 2 })),
  LayerScale: () => chain(image, nn.conv2d(5, 1), nn.layerScale(0.5)),
  Rescaling: () => chain(image, nn.rescaling(1 / 127.5, { offset: -1 })),
  'Rescaling: each channel by its own number': () =>
    chain(image, nn.rescaling([1, 2, 3, 4].slice(0, image.at(-1)), { offset: [4, 3, 2, 1].slice(0, image.at(-1)) })),
  Conv1D: () => chain(sequence, nn.conv1d(5, 3, { strides: 2, activation: 'relu' })),
  'Conv1D: same': () => chain(sequence, nn.conv1d(5, 4, { padding: 'same', dilationRate: 2, useBias: false })),
  'Conv1D: causal': () => chain(sequence, nn.conv1d(5, 3, { padding: 'causal', dilationRate: 2 })),
  Conv2D: () => chain(image, nn.conv2d(5, [3, 2], { activation: 'relu' })),
  'Conv2D: same, strides': () => chain(image, nn.conv2d(5, 3, { padding: 'same', strides: 2, useBias: false })),
  'Conv2D: dilation': () => chain(image, nn.conv2d(5, 3, { padding: 'same', dilationRate: 2 })),
  'Conv2D: groups': () => chain(image, nn.conv2d(6, 3, { groups: 2, activation: gelu })),
  Conv2DTranspose: () => chain(image, nn.conv2dTranspose(5, 3, { strides: 2, padding: 'same' })),
  'Conv2DTranspose: valid': () => chain(image, nn.conv2dTranspose(5, 2, { strides: 3, activation: 'relu' })),
  'Conv2DTranspose: same, another kernel': () =>
    chain(image, nn.conv2dTranspose(5, [4, 2], { strides: [2, 1], padding: 'same', useBias: false })),
  'Conv2DTranspose: dilation': () => chain(image, nn.conv2dTranspose(5, 3, { dilationRate: 2 })),
  DepthwiseConv2D: () => chain(image, nn.depthwiseConv2d(3, { padding: 'same', activation: 'relu' })),
  'DepthwiseConv2D: several kernels': () =>
    chain(image, nn.depthwiseConv2d([3, 2], { depthMultiplier: 2, strides: 2 })),
  'DepthwiseConv2D: dilation': () => chain(image, nn.depthwiseConv2d(3, { dilationRate: 2, useBias: false })),
  SeparableConv2D: () => chain(image, nn.separableConv2d(5, 3, { padding: 'same', strides: 2, activation: 'tanh' })),
  'SeparableConv2D: several kernels': () => chain(image, nn.separableConv2d(5, 3, { depthMultiplier: 2 })),
  'SeparableConv2D: dilation': () => chain(image, nn.separableConv2d(5, 2, { dilationRate: 2 })),
  ZeroPadding2D: () =>
    chain(
      image,
      nn.zeroPadding2d([
        [1, 0],
        [2, 3],
      ]),
    ),
  'ZeroPadding2D: one number': () => chain(image, nn.zeroPadding2d(2)),
  'Cropping2D: one number': () => chain(image, nn.cropping2d(2)),
  Cropping2D: () => chain(image, nn.cropping2d([1, 2])),
  'Cropping2D: each side': () =>
    chain(
      image,
      nn.cropping2d([
        [1, 0],
        [0, 2],
      ]),
    ),
  UpSampling2D: () => chain(image, nn.upSampling2d({ size: [2, 3] })),
  'UpSampling2D: bilinear': () => chain(image, nn.upSampling2d({ interpolation: 'bilinear' })),
  Dense: () => chain([6], nn.dense(5, { activation: 'softmax' })),
  'Dense of sequences': () => chain(sequence, nn.dense(5, { activation: silu, useBias: false })),
  'Dense of images': () => chain(image, nn.dense(5)),
  Dropout: () => chain(sequence, nn.dropout(0.5), nn.dense(3)),
  'Dropout: a shape of its mask': () => chain(image, nn.dropout(0.5, { noiseShape: [null, 1, 1, 1] })),
  SpatialDropout2D: () => chain(image, nn.spatialDropout2d(0.5)),
  Flatten: () => chain(image, nn.conv2d(5, 2), nn.flatten(), nn.dense(3)),
  'Flatten of sequences': () => chain(sequence, nn.flatten(), nn.dense(3)),
  Reshape: () => chain(image, nn.conv2d(6, 3), nn.reshape([10, -1]), nn.dense(2)),
  'Reshape to images': () => chain([24], nn.reshape([2, 4, 3]), nn.conv2d(2, 2)),
  'Reshape to one row': () => chain(image, nn.globalAveragePooling2d(), nn.reshape([1, 1, -1]), nn.conv2d(3, 1)),
  ELU: () => chain(sequence, nn.elu()),
  'ELU: alpha': () => chain(sequence, nn.elu({ alpha: 0.5 })),
  LeakyReLU: () => chain(sequence, nn.leakyReLU()),
  'LeakyReLU: another slope': () => chain(image, nn.leakyReLU({ negativeSlope: 0.1 })),
  ReLU: () => chain(image, nn.reLU()),
  'ReLU: a largest number': () => chain(sequence, nn.reLU({ maxValue: 0.5 })),
  'ReLU: a slope and a threshold': () =>
    chain(sequence, nn.reLU({ negativeSlope: 0.1, threshold: 0.2, maxValue: 0.8 })),
  PReLU: () => chain(image, nn.pReLU({ sharedAxes: [1, 2] })),
  'PReLU: a slope for each number': () => chain(image, nn.pReLU()),
  'PReLU of sequences': () => chain(sequence, nn.pReLU({ sharedAxes: [1] })),
  MultiHeadAttention: () => chain(sequence, nn.multiHeadAttention(2, 3)),
  'MultiHeadAttention of two sequences': () =>
    merged(nn.multiHeadAttention(2, 3, { valueDim: 4, useBias: false, dropout: 0.1 }), sequence, nn.dense(5)),
}

/** A residual block of He et al. */
function residual(net: nn.Wiring, from: nn.Place, filters: number, strides: number): nn.Place {
  const convolution = (size: number, step: number) =>
    nn.conv2d(filters, size, { strides: step, padding: 'same', useBias: false, kernelInitializer: nn.heNormal })
  const inner = net.chain(from, convolution(3, strides), nn.batchNormalization(), nn.activation('relu'))
  const outer = net.chain(inner, convolution(3, 1), nn.batchNormalization())
  const shortcut = strides === 1 ? from : net.chain(from, convolution(1, strides), nn.batchNormalization())
  return net.chain(net.merge(nn.add(), outer, shortcut), nn.activation('relu'))
}

function resnet20(): nn.Model {
  const net = new nn.Wiring()
  const first = nn.conv2d(16, 3, { padding: 'same', useBias: false })
  let place = net.chain(net.input, first, nn.batchNormalization(), nn.activation('relu'))
  for (const filters of [16, 32, 64])
    for (let i = 0; i < 3; i++) place = residual(net, place, filters, i === 0 && filters > 16 ? 2 : 1)
  net.chain(place, nn.globalAveragePooling2d(), nn.dense(10, { activation: 'softmax' }))
  return net.model('resnet20', [32, 32, 3])
}

/** Inverted residual blocks of Sandler et al., as Keras builds them. */
function mobileNetV2(): nn.Model {
  const net = new nn.Wiring()
  const normal = () => nn.batchNormalization({ epsilon: 1e-3, momentum: 0.999 })
  const plain = (filters: number, kernel: number, strides = 1) =>
    nn.conv2d(filters, kernel, { strides, padding: 'same', useBias: false })
  const relu = () => nn.reLU({ maxValue: 6 })
  let place = net.chain(net.input, plain(8, 3, 2), normal(), relu())
  let channels = 8
  for (const [filters, strides] of [
    [8, 1],
    [12, 2],
    [12, 1],
    [16, 2],
  ] as const) {
    const wide = net.chain(place, plain(6 * channels, 1), normal(), relu())
    const around =
      strides === 1
        ? []
        : [
            nn.zeroPadding2d([
              [0, 1],
              [0, 1],
            ]),
          ] // prettier-ignore
    const padding = strides === 1 ? 'same' : 'valid'
    const deep = net.chain(
      wide,
      ...around,
      nn.depthwiseConv2d(3, { strides, padding, useBias: false }),
      normal(),
      relu(),
    )
    const narrow = net.chain(deep, plain(filters, 1), normal())
    place = strides === 1 && filters === channels ? net.merge(nn.add(), place, narrow) : narrow
    channels = filters
  }
  net.chain(
    place,
    plain(64, 1),
    normal(),
    relu(),
    nn.globalAveragePooling2d(),
    nn.dropout(0.2),
    nn.dense(5, { activation: 'softmax' }),
  )
  return net.model('mobilenet_v2', [32, 32, 3])
}

const networks: Readonly<Record<string, () => nn.Model>> = {
  'LeNet-5': () => nn.lenet5({ units: [32, 16] }, { seed: 1 }),
  'ResNet-20': resnet20,
  MobileNetV2: mobileNetV2,
}

/** The model with weights of every kind that are not what they begin as. */
function filled(model: nn.Model): nn.Model {
  const numbers = model.weights.map(({ name, shape }) => {
    const random = new Random(3, name)
    const fan = Math.max(
      1,
      shape.slice(0, -1).reduce((product, extent) => product * extent, 1),
    )
    const isScale = /variance|gamma$/.test(name)
    const size = shape.reduce((product, extent) => product * extent, 1)
    const next = () => (isScale ? 0.5 + random.uniform() : (2 * random.uniform() - 1) * Math.sqrt(3 / fan))
    return [name, { shape, data: Float32Array.from({ length: size }, next) }] as const
  })
  model.setWeights(new Map(numbers))
  return model
}

const casesOf = (table: Readonly<Record<string, () => nn.Model>>): readonly ExportCase[] =>
  Object.entries(table).map(([name, build]) => ({ name, build: () => filled(build()) }))

export const layerCases = casesOf(layers)
export const networkCases = casesOf(networks)

/** Cases of layers that Keras does not have: a layer of its `applications` alone. */
export const notInKeras = /^LayerScale/

/** Whether `weights.loadModel` builds the model from Keras' files: it knows Keras' only dilation of `Conv2DTranspose`, none. */
export const isReadBack = (name: string): boolean => !/^Conv2DTranspose: dilation/.test(name)

/** The numbers of a batch for the model, within [-2, 2]. */
export function inputOf(model: nn.Model, batch = 2): Float32Array {
  const random = new Random(5, 'input')
  const size = batch * model.inputShape.reduce((product, extent) => product * extent, 1)
  return Float32Array.from({ length: size }, () => 4 * random.uniform() - 2)
}
