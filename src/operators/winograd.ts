/** Convolution of 3x3 taps with transformed filters, for frozen networks. */

import type { GraphView, Node, Operation, Replacement } from '../graph/node.ts'
import { isNode, makeNode, outputsOf } from '../graph/node.ts'
import { pointsOf, type TileSide } from '../kernels/conv2d/winograd/tiles.ts'
import { winograd } from '../kernels/conv2d/winograd/winograd.ts'
import type { FusedActivation } from '../kernels/wgsl/activation.ts'
import type { Activation } from './activation.ts'
import { activate, activationOf } from './activation.ts'
import { extentOf, f32, isHalf, refuse, take } from './checks.ts'
import { halves } from './fusion/conv2d-pool.ts'
import type { Operator } from './operator.ts'
import { apply, noDerivative } from './operator.ts'
import { maxPoolOp } from './pool.ts'
import type { Tensor } from './tensor.ts'
import type { ConvGeometry, Padding } from './window.ts'
import { convGeometry } from './window.ts'

interface WinogradAttributes extends ConvGeometry {
  readonly filters: number
  readonly tile: TileSide
  readonly halfKernel?: true | undefined
}

type Operands = [x: Tensor, filters: Tensor, bias?: Tensor]

const outputOf = ({ batch, outHeight, outWidth, filters }: WinogradAttributes) => [
  f32([batch, outHeight, outWidth, filters]),
]

/** Inputs: x, transformed filters, optional bias. */
const winogradOp: Operator<WinogradAttributes, Operands> = {
  name: 'conv2d',
  half: 1,
  shape: (_, attributes) => outputOf(attributes),
  lower: ({ inputs, attributes }, kernels) =>
    kernels.plan(winograd, { ...attributes, groups: 1, bias: inputs.length === 3, activation: 'linear' }),
  absorb({ attributes }, reader) {
    const activation = activationOf(reader)
    return activation && { op: activatedOp, attributes: { ...attributes, activation } }
  },
  fuse: fusePool,
  vjp: noDerivative,
}

/** The same with its activation, in one kernel. Made by fusion. */
const activatedOp: Operation<WinogradAttributes & { readonly activation: FusedActivation }> = {
  name: 'conv2d',
  half: 1,
  shape: (_, attributes) => outputOf(attributes),
  lower: ({ inputs, attributes }, kernels) =>
    kernels.plan(winograd, { ...attributes, groups: 1, bias: inputs.length === 3 }),
}

/** The same with its activation and the 2x2 max-pooling after it. Made by fusion. */
const pooledOp: Operation<WinogradAttributes & { readonly activation: FusedActivation }> = {
  name: 'conv2dPool',
  half: 1,
  shape: (_, { batch, outHeight, outWidth, filters }) => [f32([batch, outHeight >> 1, outWidth >> 1, filters])],
  lower: ({ inputs, attributes }, kernels) =>
    kernels.plan(winograd, { ...attributes, groups: 1, bias: inputs.length === 3, pooled: true }),
}

/** Takes over a max-pool if nothing else reads the convolution or its activation, nor where the maxima were. */
function fusePool(convolution: Node<WinogradAttributes>, { readers, wants }: GraphView): Replacement[] {
  const onlyReader = (node: Node): Node | undefined => {
    const [reader, ...others] = readers(node)
    return others.length === 0 && !wants(node) ? reader : undefined
  }
  const next = onlyReader(convolution)
  const activation = next && activationOf(next)
  const pool = next && activation !== undefined ? onlyReader(next) : next
  if (!isNode(pool, maxPoolOp) || !halves(pool.attributes, convolution.attributes)) return []
  if (readers(pool, 1).length > 0 || wants(pool, 1)) return []
  const attributes = { ...convolution.attributes, activation: activation ?? ('linear' as const) }
  return [
    {
      absorbed: next === undefined || next === pool ? [convolution] : [convolution, next],
      heads: new Map([[pool, (map) => outputsOf(makeNode(pooledOp, convolution.inputs.map(map), attributes))]]),
    },
  ]
}

/**
 * `conv2d` of 3x3 taps at stride 1 with filters [points, c, filters] that `transformFilters` made for this tile. Has no
 * derivative. Throws 'shape' for operands that do not fit.
 */
export function winogradConv2d(
  x: Tensor,
  filters: Tensor,
  bias: Tensor | undefined,
  { tile, padding, activation }: { tile: TileSide; padding: Padding; activation: Activation },
): Tensor {
  const types = [x.value.type, filters.value.type]
  take('conv2d', types, [{ rank: 4 }, { rank: 3 }])
  const [points, channels, count] = [0, 1, 2].map((axis) => extentOf(filters.shape, axis))
  if (points !== pointsOf(tile) || channels !== x.shape[3])
    refuse('conv2d', types, `transformed filters are [${pointsOf(tile)}, channels, filters]`)
  const geometry = convGeometry('conv2d', x.shape, [3, 3, channels ?? 0, count ?? 0], { padding })
  const inputs: Operands = bias === undefined ? [x, filters] : [x, filters, bias]
  const attributes = { ...geometry, filters: count ?? 0, tile, halfKernel: isHalf(filters) }
  return activate(activation, apply(winogradOp, inputs, attributes))
}
