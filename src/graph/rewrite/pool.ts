/**
 * Finds convolutions whose result goes nowhere but into a 2x2 max-pool, with the gradients that come back through both,
 * and says what becomes of each node. The pattern of the backward half is what vjp.ts makes of relu, pool and
 * convolution: conv2dInputGradient and conv2dFilterGradient of `where(conv > 0, maxPoolGradient(dy, positions), 0)`, and
 * its sum for the bias.
 */

import { canFusePool } from '../../kernels/conv2d/quad/pooled.ts'
import type { Target } from '../../kernels/kernel.ts'
import type { Node, NodeOf, Value } from '../node.ts'
import { outputOf } from '../node.ts'
import type { Build, Readers, Replacement } from './replacement.ts'
import { isZero, outputsOf, sameValue, sharedHeads } from './replacement.ts'

/** Replacements for every convolution of the graph that can be pooled as it is computed. */
export function fusePools(order: readonly Node[], readers: Readers, target: Target): Replacement[] {
  return order.flatMap((node) => {
    const match = node.kind === 'maxPool' ? matchPool(node, readers, target) : undefined
    return match === undefined ? [] : [replacementFor(match)]
  })
}

interface Match {
  readonly convolution: NodeOf<'conv2d'>
  readonly pool: Node
  /** The gradient of the pooled numbers, where there is a backward half. */
  readonly gradient: Value | undefined
  readonly inputGradients: readonly Node[]
  readonly filterGradients: readonly Node[]
  readonly biasGradients: readonly Node[]
  readonly absorbed: readonly Node[]
}

function replacementFor(match: Match): Replacement {
  const { convolution, pool, gradient } = match
  const { activation, ...window } = convolution.attributes
  const [image, kernel] = convolution.inputs
  if (image === undefined || kernel === undefined) throw new RangeError()
  const [, inputHeight = 0, inputWidth = 0] = image.type.shape
  const [kernelHeight = 0, kernelWidth = 0] = kernel.type.shape
  const codes = outputOf(pool, 1)
  const heads = new Map<Node, Build>()
  heads.set(pool, (map) =>
    outputsOf('conv2dPool', convolution.inputs.map(map), {
      ...window,
      activation: activation === 'relu' ? 'relu' : 'linear',
    }),
  )
  if (gradient !== undefined) {
    for (const node of match.inputGradients)
      heads.set(node, (map) =>
        outputsOf('conv2dPoolInputGradient', [gradient, codes, kernel].map(map), {
          ...window,
          inputHeight,
          inputWidth,
        }),
      )
    const both: Build = (map) =>
      outputsOf('conv2dPoolFilterGradient', [image, gradient, codes].map(map), { ...window, kernelHeight, kernelWidth })
    for (const [node, build] of sharedHeads(match.filterGradients, match.biasGradients, both)) heads.set(node, build)
  }
  return { absorbed: match.absorbed, heads }
}

function matchPool(pool: Extract<Node, { kind: 'maxPool' }>, readers: Readers, target: Target): Match | undefined {
  const convolution = pool.inputs[0]?.node
  const isHalving =
    [...pool.attributes.window, ...pool.attributes.strides].every((n) => n === 2) &&
    pool.attributes.padTop === 0 &&
    pool.attributes.padLeft === 0
  if (convolution?.kind !== 'conv2d' || !isHalving || readers.wants(convolution) || readers.wants(pool, 1))
    return undefined
  const { activation } = convolution.attributes
  if (activation !== 'relu' && activation !== 'linear') return undefined
  if (!canFusePool(keyOf(convolution, activation), target)) return undefined
  const { attributes } = pool
  if (attributes.outHeight !== convolution.attributes.outHeight >> 1) return undefined
  if (attributes.outWidth !== convolution.attributes.outWidth >> 1) return undefined

  const masks = readers.of(convolution).filter((reader) => reader !== pool)
  const backward = readers.of(pool, 1)
  const base = { convolution, pool, inputGradients: [], filterGradients: [], biasGradients: [] }
  if (backward.length === 0)
    return masks.length === 0 ? { ...base, gradient: undefined, absorbed: [convolution] } : undefined
  const [unpool] = backward
  if (backward.length !== 1 || unpool?.kind !== 'maxPoolGradient' || readers.wants(unpool)) return undefined

  // With relu: one comparison with zero, read by one choice, which also reads the unpooled gradient.
  let full: Node = unpool
  if (activation === 'relu') {
    const [mask] = masks
    const [choice] = readers.of(unpool)
    const isMask = masks.length === 1 && mask?.kind === 'greater' && isZero(mask.inputs[1]) && !readers.wants(mask)
    if (!isMask || choice?.kind !== 'where' || readers.of(unpool).length !== 1 || readers.wants(choice))
      return undefined
    const isChoice = choice.inputs[0]?.node === mask && choice.inputs[1]?.node === unpool && isZero(choice.inputs[2])
    if (!isChoice || readers.of(mask).length !== 1) return undefined
    full = choice
  } else if (masks.length > 0) return undefined

  const users = readers.of(full)
  const [image, kernel] = convolution.inputs
  const inputGradients = users.filter(
    (u) => u.kind === 'conv2dInputGradient' && u.inputs[0]?.node === full && sameValue(u.inputs[1], kernel),
  )
  const filterGradients = users.filter(
    (u) => u.kind === 'conv2dFilterGradient' && u.inputs[1]?.node === full && sameValue(u.inputs[0], image),
  )
  const biasGradients = users.filter(
    (u) => u.kind === 'sum' && u.attributes.axes.join() === '0,1,2' && u.attributes.scale === 1,
  )
  if (inputGradients.length + filterGradients.length + biasGradients.length !== users.length) return undefined
  const between = new Set([unpool, full, ...masks])
  return {
    ...base,
    gradient: unpool.inputs[0],
    inputGradients,
    filterGradients,
    biasGradients,
    absorbed: [convolution, ...between],
  }
}

function keyOf(convolution: NodeOf<'conv2d'>, activation: 'relu' | 'linear'): Parameters<typeof canFusePool>[0] {
  const [batch = 0, inputHeight = 0, inputWidth = 0, channels = 0] = convolution.inputs[0]?.type.shape ?? []
  const [kernelHeight = 0, kernelWidth = 0, , filters = 0] = convolution.inputs[1]?.type.shape ?? []
  const image = { batch, inputHeight, inputWidth, channels, kernelHeight, kernelWidth, filters }
  return { ...convolution.attributes, ...image, bias: convolution.inputs.length === 3, activation }
}
