/**
 * Times the convolutions of the pretrained networks, each distinct one once, those with the most operations first: at
 * the image size that a network was trained on, and at the small one that the study uses.
 */

import type { Device, DeviceBuffer } from '../../../src/gpu/device.ts'
import type { Shape } from '../../../src/graph/node.ts'
import { topologicalOrder } from '../../../src/graph/node.ts'
import { elementCount } from '../../../src/kernels/kernel.ts'
import { freeze } from '../../../src/nn/freeze.ts'
import type { PretrainedName } from '../../../src/nn/models/pretrained.ts'
import { pretrained } from '../../../src/nn/models/pretrained.ts'
import { conv2d, depthwiseConv2d } from '../../../src/operators/index.ts'
import { DeviceStorage, leaf, Tensor } from '../../../src/operators/tensor.ts'
import type { ConvGeometry } from '../../../src/operators/window.ts'
import * as reference from '../../../test/reference/window.ts'
import type { NetworkSize } from '../../networks.ts'
import { networkBatch, networkSizes } from '../../networks.ts'
import type { Part } from '../part.ts'
import type { OperatorRow, TimedOperator } from '../timed-operator.ts'
import { operatorTable, timeOperators } from '../timed-operator.ts'

const convolutionKinds = ['conv2d', 'depthwiseConv2d'] as const

/** The movement of a convolution's window. */
type ConvWindow = Pick<ConvGeometry, 'strides' | 'dilation' | 'padTop' | 'padLeft' | 'outHeight' | 'outWidth'>

/** A convolution of a network, and how often it occurs. */
interface Convolution {
  readonly kind: (typeof convolutionKinds)[number]
  readonly network: PretrainedName
  readonly pixels: number
  /** How often it occurs in one pass. */
  readonly count: number
  /** Images: [batch, height, width, channels]; kernel: [height, width, channels, filters or multiplier]. */
  readonly shapes: readonly [Shape, Shape]
  readonly attributes: ConvWindow
}

/** All that another program needs to do the same work. */
interface ConvolutionRow extends OperatorRow, Omit<Convolution, 'attributes'>, ConvWindow {}

export interface ConvolutionFigures {
  /** The distinct convolutions of all networks. */
  readonly distinct: number
  readonly convolutions: readonly ConvolutionRow[]
}

export const convolutionsPart: Part<ConvolutionFigures> = {
  name: 'convolutions',
  title: 'Convolutions of the networks',
  seconds: 50,
  async run(work) {
    using anything = work.device.allocate(256, 'images')
    const all = (Object.keys(networkSizes) as PretrainedName[])
      .flatMap((name) => networkSizes[name].flatMap((size) => convolutionsOf(name, size, work.device, anything)))
      .map((convolution) => ({ convolution, operator: timedConvolution(convolution) }))
      .sort((a, b) => b.convolution.count * b.operator.flops - a.convolution.count * a.operator.flops)
    const byName = new Map(all.map(({ convolution, operator }) => [operator.name, convolution]))
    const convolutions: ConvolutionRow[] = []
    await timeOperators(
      work,
      all.map(({ operator }) => operator),
      (row) => {
        const convolution = byName.get(row.name)
        if (convolution === undefined) return
        const { attributes, ...rest } = convolution
        convolutions.push({ ...row, ...rest, ...attributes })
        work.report({ distinct: all.length, convolutions: [...convolutions] })
      },
    )
  },
  page({ distinct, convolutions }, pytorch) {
    const networks = new Map<string, ConvolutionRow[]>()
    for (const row of convolutions) {
      const network = `${row.network} at ${row.pixels} px`
      networks.set(network, [...(networks.get(network) ?? []), row])
    }
    return [
      `${convolutions.length} of ${distinct} distinct convolutions, those with the most operations first.`,
      ...[...networks].flatMap(([network, rows]) => [
        '',
        `<details><summary>${network}</summary>`,
        '',
        ...operatorTable(rows, pytorch?.convolutions),
        '',
        '</details>',
      ]),
    ]
  },
}

/** Traces a network, which needs no weights. */
function convolutionsOf(
  network: PretrainedName,
  size: NetworkSize,
  device: Device,
  anything: DeviceBuffer,
): readonly Convolution[] {
  const { pixels } = size
  using frozen = freeze(pretrained[network].build({ size: pixels, pooling: 'avg' }))
  const shape = [networkBatch(frozen, size, device), ...frozen.inputShape]
  const y = frozen.call(new Tensor(leaf(new DeviceStorage(anything.slice()), { shape, dtype: 'f32' })))
  const found = new Map<string, Convolution>()
  for (const node of topologicalOrder([y.value])) {
    const kind = convolutionKinds.find((name) => name === node.op.name)
    if (kind === undefined) continue
    const [x, kernel] = node.inputs
    if (x === undefined || kernel === undefined) continue
    const { strides, dilation, padTop, padLeft, outHeight, outWidth } = node.attributes as ConvWindow
    const attributes = { strides, dilation, padTop, padLeft, outHeight, outWidth }
    const shapes = [x.type.shape, kernel.type.shape] as const
    const work = JSON.stringify([kind, shapes, attributes])
    const count = (found.get(work)?.count ?? 0) + 1
    found.set(work, { kind, network, pixels, count, shapes, attributes })
  }
  return [...found.values()]
}

function timedConvolution({ kind, network, pixels, shapes, attributes }: Convolution): TimedOperator {
  const [[batch = 0, height = 0, width = 0, channels = 0], [kernelHeight = 0, kernelWidth = 0, , last = 0]] = shapes
  const { strides, dilation, padTop, padLeft, outHeight, outWidth } = attributes
  const outputs = batch * outHeight * outWidth
  const isDepthwise = kind === 'depthwiseConv2d'
  const flops = 2 * outputs * elementCount(shapes[1])
  const below = (extent: number, out: number, window: number, i: 0 | 1, before: number): number =>
    Math.max(0, (out - 1) * strides[i] + (window - 1) * dilation[i] + 1 - extent - before)
  const options = {
    strides,
    dilationRate: dilation,
    padding: [
      [padTop, below(height, outHeight, kernelHeight, 0, padTop)],
      [padLeft, below(width, outWidth, kernelWidth, 1, padLeft)],
    ],
  } as const
  const window = `${kernelHeight}x${kernelWidth}${strides[0] > 1 ? ` by ${strides[0]}` : ''}`
  const to = isDepthwise ? 'each channel' : `${last} filters`
  return {
    name: `${network} ${pixels}: ${batch}x${height}x${width}x${channels}, ${window} to ${to}`,
    flops,
    shapes,
    terms: kernelHeight * kernelWidth * (isDepthwise ? 1 : channels),
    trace: (x, kernel) => (isDepthwise ? depthwiseConv2d(x, kernel, options) : conv2d(x, kernel, undefined, options)),
    reference: (x, kernel) =>
      isDepthwise ? reference.depthwiseConv2d(x, kernel, options) : reference.conv2d(x, kernel, undefined, options),
  }
}
