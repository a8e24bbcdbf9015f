/**
 * Fuses a convolution with the 2x2 max-pool that follows it, with or without relu in between, into one kernel if
 * nothing else reads the convolution. Also fuses the gradients that flow back through both: conv2dInputGradient and
 * conv2dFilterGradient of `where(relu(conv) > 0, maxPoolGradient(dy, positions), 0)`, and its sum for the bias.
 */

import type { Build, GraphView, Node, Operation, Replacement, Value } from '../../graph/node.ts'
import { inputOf, isNode, makeNode, outputOf, outputsOf, sameValue } from '../../graph/node.ts'
import { sharedHeads } from '../../graph/rewrite/shared-heads.ts'
import {
  canFusePool,
  conv2dPool,
  conv2dPoolFilterGradient,
  conv2dPoolInputGradient,
} from '../../kernels/conv2d/quad/pooled.ts'
import { reluOp } from '../activation.ts'
import { f32, u32 } from '../checks.ts'
import { greaterOp, whereOp } from '../elementwise.ts'
import { isZero } from '../operator.ts'
import { maxPoolGradientOp, maxPoolOp } from '../pool.ts'
import { sumOp } from '../reduce.ts'
import type { ConvGeometry } from '../window.ts'

/** The attributes of the convolution; its extents are those before pooling. */
interface Convolution extends ConvGeometry {
  readonly filters: number
  readonly groups: number
}

type Activation = 'relu' | 'linear'

/**
 * The pooled convolution. Inputs: x, kernel, optional bias. Outputs: the pooled result, and u32 codes for the position
 * of each element (see kernels/conv2d/quad/pooled.ts).
 */
const conv2dPoolOp: Operation<Convolution & { readonly activation: Activation }> = {
  name: 'conv2dPool',
  shape(_, { batch, outHeight, outWidth, filters }) {
    const shape = [batch, outHeight >> 1, outWidth >> 1, filters]
    return [f32(shape), u32(shape)]
  },
  lower: ({ inputs, attributes }, kernels) => kernels.plan(conv2dPool, { ...attributes, bias: inputs.length === 3 }),
}

/** The codes record where relu cut off, so the gradients need not know about it. */
const plain = { bias: false, activation: 'linear' } as const

/** The input gradient. Inputs: dy (pooled), codes, kernel. */
const conv2dPoolInputGradientOp: Operation<Convolution> = {
  name: 'conv2dPoolInputGradient',
  shape: (_, { batch, inputHeight, inputWidth, channels }) => [f32([batch, inputHeight, inputWidth, channels])],
  lower: ({ attributes }, kernels) => kernels.plan(conv2dPoolInputGradient, { ...attributes, ...plain }),
}

/** The filter gradient. Inputs: x, dy (pooled), codes. Outputs: the gradients of kernel and bias. */
const conv2dPoolFilterGradientOp: Operation<Convolution> = {
  name: 'conv2dPoolFilterGradient',
  shape: (_, { kernelHeight, kernelWidth, channels, filters }) => [
    f32([kernelHeight, kernelWidth, channels, filters]),
    f32([filters]),
  ],
  lower: ({ attributes }, kernels) => kernels.plan(conv2dPoolFilterGradient, { ...attributes, ...plain }),
}

/** The operators that make up a convolution's derivative. */
interface GradientOps {
  readonly inputGradient: Operation
  readonly filterGradient: Operation
}

/** Finds the replacement for a convolution that can be pooled in the same kernel. */
export function fuseConvolutionAndPool(
  convolution: Node<Convolution>,
  graph: GraphView,
  ops: GradientOps,
): Replacement[] {
  const match = matchPool(convolution, graph, ops)
  if (match === undefined) return []
  const { pool, gradient, activation } = match
  const { attributes } = convolution
  const [image, kernel] = [inputOf(convolution, 0), inputOf(convolution, 1)]
  const codes = outputOf(pool, 1)
  const heads = new Map<Node, Build>()
  heads.set(pool, (map) =>
    outputsOf(makeNode(conv2dPoolOp, convolution.inputs.map(map), { ...attributes, activation })),
  )
  if (gradient !== undefined) {
    for (const node of match.inputGradients)
      heads.set(node, (map) =>
        outputsOf(makeNode(conv2dPoolInputGradientOp, [gradient, codes, kernel].map(map), attributes)),
      )
    const both: Build = (map) =>
      outputsOf(makeNode(conv2dPoolFilterGradientOp, [image, gradient, codes].map(map), attributes))
    for (const [node, build] of sharedHeads(match.filterGradients, match.biasGradients, both)) heads.set(node, build)
  }
  return [{ absorbed: match.absorbed, heads }]
}

interface Match {
  readonly pool: Node
  readonly activation: Activation
  /** The gradient of the pooled result, if there is a backward pass. */
  readonly gradient: Value | undefined
  readonly inputGradients: readonly Node[]
  readonly filterGradients: readonly Node[]
  readonly biasGradients: readonly Node[]
  readonly absorbed: readonly Node[]
}

function matchPool(convolution: Node<Convolution>, graph: GraphView, ops: GradientOps): Match | undefined {
  const { readers, wants, target } = graph
  const { attributes, inputs } = convolution
  if (wants(convolution)) return undefined

  // With relu, only relu may read the convolution. Its result goes into the pool and, in a backward pass, into one
  // comparison with zero.
  const [next, ...others] = readers(convolution)
  const hasRelu = isNode(next, reluOp)
  const activation = hasRelu ? 'relu' : 'linear'
  const activated = hasRelu ? next : convolution
  if (hasRelu && (others.length > 0 || wants(activated))) return undefined
  const pool = readers(activated).find((node) => isNode(node, maxPoolOp))
  if (!isNode(pool, maxPoolOp) || wants(pool, 1) || !halves(pool.attributes, attributes)) return undefined
  if (!canFusePool({ ...attributes, bias: inputs.length === 3, activation }, target)) return undefined

  const masks = readers(activated).filter((reader) => reader !== pool)
  const backward = readers(pool, 1)
  const own = hasRelu ? [convolution, activated] : [convolution]
  const base = { pool, activation, inputGradients: [], filterGradients: [], biasGradients: [] } as const
  if (backward.length === 0) return masks.length === 0 ? { ...base, gradient: undefined, absorbed: own } : undefined
  const [unpool] = backward
  if (backward.length !== 1 || !isNode(unpool, maxPoolGradientOp) || wants(unpool)) return undefined

  // With relu: one comparison with zero, read by one `where`, which also reads the unpooled gradient.
  let full: Node = unpool
  if (hasRelu) {
    const [mask] = masks
    const [choice] = readers(unpool)
    const isMask = masks.length === 1 && isNode(mask, greaterOp) && isZero(mask.inputs[1]) && !wants(mask)
    if (!isMask || !isNode(choice, whereOp) || readers(unpool).length !== 1 || wants(choice)) return undefined
    const isChoice = choice.inputs[0]?.node === mask && choice.inputs[1]?.node === unpool && isZero(choice.inputs[2])
    if (!isChoice || readers(mask).length !== 1) return undefined
    full = choice
  } else if (masks.length > 0) return undefined

  const users = readers(full)
  const inputGradients = users.filter(
    ({ op, inputs: [dy, kernel] }) => op === ops.inputGradient && dy?.node === full && sameValue(kernel, inputs[1]),
  )
  const filterGradients = users.filter(
    ({ op, inputs: [x, dy] }) => op === ops.filterGradient && dy?.node === full && sameValue(x, inputs[0]),
  )
  const biasGradients = users.filter(
    (node) => isNode(node, sumOp) && node.attributes.axes.join() === '0,1,2' && node.attributes.scale === 1,
  )
  if (inputGradients.length + filterGradients.length + biasGradients.length !== users.length) return undefined
  const absorbed = [...own, ...new Set([unpool, full, ...masks])]
  return { ...base, gradient: unpool.inputs[0], inputGradients, filterGradients, biasGradients, absorbed }
}

/** Whether the pool takes whole, adjacent 2x2 windows. */
export function halves(pool: ConvGeometry, convolution: ConvGeometry): boolean {
  const isTwoByTwo = [pool.kernelHeight, pool.kernelWidth, ...pool.strides].every((n) => n === 2)
  const isWhole = pool.outHeight === convolution.outHeight >> 1 && pool.outWidth === convolution.outWidth >> 1
  return isTwoByTwo && isWhole && pool.padTop === 0 && pool.padLeft === 0
}
