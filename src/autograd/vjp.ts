/**
 * The derivatives: for every operator its vector-Jacobian product, or the word `none`. The table is exhaustive, so an
 * operator without an entry does not compile. Rules need not care about broadcasting: `gradients` sums what they return
 * down to the operand's shape. `undefined` stands for a derivative that is zero everywhere.
 */

import { WeftgradError } from '../errors.ts'
import type { Activation, NodeOf, OpKind } from '../graph/node.ts'
import { sameShape, shapeText } from '../graph/node.ts'
import { broadcastShapes } from '../graph/shapes.ts'
import { apply } from './apply.ts'
import {
  abs,
  add,
  broadcastTo,
  div,
  equal,
  exp,
  greater,
  greaterEqual,
  less,
  lessEqual,
  log,
  logSoftmax,
  matmul,
  mul,
  neg,
  ones,
  pad,
  pow,
  reshape,
  sign,
  slice,
  softmax,
  sqrt,
  square,
  sub,
  sum,
  toF32,
  where,
} from './ops.ts'
import { Tensor } from './tensor.ts'

export interface VjpContext<K extends OpKind> {
  readonly node: NodeOf<K>
  readonly inputs: readonly Tensor[]
  readonly outputs: readonly Tensor[]
  /** Of the first output. */
  readonly cotangent: Tensor
  /** Of all outputs; undefined where an output is not used. */
  readonly cotangents: readonly (Tensor | undefined)[]
}

/** Gives the cotangent of each input. */
export type VjpRule<K extends OpKind> = (context: VjpContext<K>) => readonly (Tensor | undefined)[]

type Context = VjpContext<OpKind>

/** The operand at `index`; the shape rules have made sure that it is there. */
function operand({ inputs, node }: Pick<Context, 'inputs' | 'node'>, index: number): Tensor {
  const tensor = inputs[index]
  if (tensor === undefined) throw new RangeError(`${node.kind} has no operand ${index}`)
  return tensor
}

function result({ outputs, node }: Pick<Context, 'outputs' | 'node'>): Tensor {
  const [tensor] = outputs
  if (tensor === undefined) throw new RangeError(`${node.kind} has no result`)
  return tensor
}

/** A rule for one operand, its result and its cotangent. */
const unary =
  (rule: (cotangent: Tensor, x: Tensor, y: Tensor) => Tensor | undefined) =>
  (context: Pick<Context, 'inputs' | 'outputs' | 'node' | 'cotangent'>): readonly (Tensor | undefined)[] => [
    rule(context.cotangent, operand(context, 0), result(context)),
  ]

const binary =
  (rule: (cotangent: Tensor, a: Tensor, b: Tensor, y: Tensor) => readonly (Tensor | undefined)[]) =>
  (context: Pick<Context, 'inputs' | 'outputs' | 'node' | 'cotangent'>): readonly (Tensor | undefined)[] =>
    rule(context.cotangent, operand(context, 0), operand(context, 1), result(context))

const flat = (): readonly undefined[] => []

/** The cotangent before the activation, from that after it and the result. */
function throughActivation(activation: Activation, cotangent: Tensor, y: Tensor): Tensor {
  switch (activation) {
    case 'linear':
      return cotangent
    case 'relu':
      return where(greater(y, 0), cotangent, 0)
    case 'sigmoid':
      return mul(cotangent, mul(y, sub(1, y)))
    case 'tanh':
      return mul(cotangent, sub(1, square(y)))
  }
}

/** Puts the reduced axes back with extent 1, so that the tensor broadcasts against the operand. */
function restoreAxes(y: Tensor, x: Tensor, axes: readonly number[]): Tensor {
  return reshape(
    y,
    x.shape.map((extent, axis) => (axes.includes(axis) ? 1 : extent)),
  )
}

/** Equal extremes share the cotangent evenly. */
function shareAmongTies(context: VjpContext<'max'> | VjpContext<'min'>): readonly Tensor[] {
  const x = operand(context, 0)
  const { axes } = context.node.attributes
  const ties = equal(x, restoreAxes(result(context), x, axes))
  const count = sum(ties, { axes })
  const share = restoreAxes(div(context.cotangent, count), x, axes)
  // Chosen, not multiplied by 0: the share may be infinite. Where NaN won there are no ties, and 0 / 0 lets NaN through.
  return [where(div(ties, restoreAxes(count, x, axes)), mul(ties, share), 0)]
}

function lastAxisSum(x: Tensor): Tensor {
  return sum(x, { axes: -1, keepDims: true })
}

function throughSoftmax(cotangent: Tensor, y: Tensor): Tensor {
  return mul(y, sub(cotangent, lastAxisSum(mul(cotangent, y))))
}

/** The sum of each row's labels, [rows, 1]. For class numbers 1, or NaN for what is no class: sqrt(-1). */
function weightOfLabels(labels: Tensor, logits: Tensor): Tensor {
  if (labels.dtype === 'f32') return lastAxisSum(labels)
  const isClass = less(toF32(labels), logits.shape.at(-1) ?? 1)
  return reshape(sqrt(sub(mul(isClass, 2), 1)), [-1, 1])
}

function convolutionBias(gradient: Tensor): Tensor {
  return sum(gradient, { axes: [0, 1, 2] })
}

export const vjpRules: { readonly [K in OpKind]: VjpRule<K> | 'none' } = {
  leaf: flat,
  constant: flat,

  neg: unary((ct) => neg(ct)),
  abs: unary((ct, x) => mul(ct, sign(x))),
  sign: flat,
  exp: unary((ct, _, y) => mul(ct, y)),
  log: unary((ct, x) => div(ct, x)),
  sqrt: unary((ct, _, y) => div(mul(ct, 0.5), y)),
  square: unary((ct, x) => mul(ct, mul(x, 2))),
  reciprocal: unary((ct, _, y) => neg(mul(ct, square(y)))),
  sigmoid: unary((ct, _, y) => throughActivation('sigmoid', ct, y)),
  tanh: unary((ct, _, y) => throughActivation('tanh', ct, y)),
  relu: unary((ct, _, y) => throughActivation('relu', ct, y)),
  clip: (context) => {
    const x = operand(context, 0)
    const { min, max } = context.node.attributes
    return [where(mul(greaterEqual(x, min), lessEqual(x, max)), context.cotangent, 0)]
  },
  copy: unary((ct) => ct),
  // The numbers pass as they are; what made them says whether it has a derivative (argmax has none).
  toF32: unary((ct) => ct),
  toU32: 'none',
  add: binary((ct) => [ct, ct]),
  sub: binary((ct) => [ct, neg(ct)]),
  mul: binary((ct, a, b) => [mul(ct, b), mul(ct, a)]),
  div: binary((ct, _, b, y) => [div(ct, b), neg(div(mul(ct, y), b))]),
  pow: binary((ct, a, b, y) => {
    // x^0 is flat, also at 0 (and at NaN), where x^-1 is infinite: another base stands in there.
    const isFlat = greater(equal(b, 0), greater(abs(a), 0))
    const slope = mul(b, pow(where(isFlat, 1, a), sub(b, 1)))
    // Chosen, not multiplied by 0: a^b may be infinite.
    const isCutOff = lessEqual(a, 0)
    const logarithm = log(where(isCutOff, 1, a))
    return [mul(ct, slope), where(isCutOff, 0, mul(ct, mul(y, logarithm)))]
  }),
  maximum: binary((ct, a, b) => {
    const first = greaterEqual(a, b)
    return [where(first, ct, 0), where(first, 0, ct)]
  }),
  minimum: binary((ct, a, b) => {
    const first = lessEqual(a, b)
    return [where(first, ct, 0), where(first, 0, ct)]
  }),
  greater: flat,
  greaterEqual: flat,
  less: flat,
  lessEqual: flat,
  equal: flat,
  where: (context) => {
    const condition = operand(context, 0)
    return [undefined, where(condition, context.cotangent, 0), where(condition, 0, context.cotangent)]
  },
  fused: 'none',

  broadcast: unary((ct) => ct),
  reshape: unary((ct, x) => reshape(ct, x.shape)),
  transpose: ({ node, cotangent }) => {
    const { permutation } = node.attributes
    // By `apply`: whoever made the node has brought its kernels, and the others' bundles do without.
    return [apply('transpose', [cotangent], { permutation: permutation.map((_, axis) => permutation.indexOf(axis)) })]
  },
  slice: (context) => {
    const { begin, size } = context.node.attributes
    const { shape } = operand(context, 0)
    const paddings = shape.map((extent, axis) => {
      const before = begin[axis] ?? 0
      return [before, extent - before - (size[axis] ?? 0)] as const
    })
    return [pad(context.cotangent, paddings)]
  },
  pad: (context) => [slice(context.cotangent, context.node.attributes.before, operand(context, 0).shape)],
  concatenate: ({ node, inputs, cotangent }) => {
    const { axis } = node.attributes
    let start = 0
    return inputs.map(({ shape }) => {
      const begin = shape.map((_, i) => (i === axis ? start : 0))
      start += shape[axis] ?? 0
      return slice(cotangent, begin, shape)
    })
  },

  sum: (context) => {
    const x = operand(context, 0)
    const { axes, scale } = context.node.attributes
    const scaled = scale === 1 ? context.cotangent : mul(context.cotangent, scale)
    return [broadcastTo(restoreAxes(scaled, x, axes), x.shape)]
  },
  max: shareAmongTies,
  min: shareAmongTies,
  argmax: 'none',

  matmul: (context) => {
    const [a, b] = [operand(context, 0), operand(context, 1)]
    const { transposeA, transposeB } = context.node.attributes
    const ct = context.cotangent
    return [
      transposeA
        ? matmul(b, ct, { transposeA: transposeB, transposeB: true })
        : matmul(ct, b, { transposeB: !transposeB }),
      transposeB
        ? matmul(ct, a, { transposeA: true, transposeB: transposeA })
        : matmul(a, ct, { transposeA: !transposeA }),
    ]
  },
  dense: (context) => {
    const [x, kernel] = [operand(context, 0), operand(context, 1)]
    const [features = 1, units = 1] = kernel.shape
    const y = result(context)
    const gradient = throughActivation(context.node.attributes.activation, context.cotangent, y)
    const rows = reshape(gradient, [-1, units])
    return [
      reshape(matmul(rows, kernel, { transposeB: true }), x.shape),
      matmul(reshape(x, [-1, features]), rows, { transposeA: true }),
      ...(context.inputs.length === 3 ? [sum(rows, { axes: 0 })] : []),
    ]
  },

  conv2d: (context) => {
    const [x, kernel] = [operand(context, 0), operand(context, 1)]
    const { activation, ...window } = context.node.attributes
    const gradient = throughActivation(activation, context.cotangent, result(context))
    const [, inputHeight = 1, inputWidth = 1] = x.shape
    const [kernelHeight = 1, kernelWidth = 1] = kernel.shape
    return [
      apply('conv2dInputGradient', [gradient, kernel], { ...window, inputHeight, inputWidth }),
      apply('conv2dFilterGradient', [x, gradient], { ...window, kernelHeight, kernelWidth }),
      ...(context.inputs.length === 3 ? [convolutionBias(gradient)] : []),
    ]
  },
  // Both gradients are linear in each operand, so their derivatives are convolutions again.
  conv2dInputGradient: (context) => {
    const { inputHeight: _h, inputWidth: _w, ...window } = context.node.attributes
    const [gradient, kernel] = [operand(context, 0), operand(context, 1)]
    const [kernelHeight = 1, kernelWidth = 1] = kernel.shape
    return [
      apply('conv2d', [context.cotangent, kernel], { ...window, activation: 'linear' }),
      apply('conv2dFilterGradient', [context.cotangent, gradient], { ...window, kernelHeight, kernelWidth }),
    ]
  },
  conv2dFilterGradient: (context) => {
    const { kernelHeight: _h, kernelWidth: _w, ...window } = context.node.attributes
    const [x, gradient] = [operand(context, 0), operand(context, 1)]
    const [, inputHeight = 1, inputWidth = 1] = x.shape
    return [
      apply('conv2dInputGradient', [gradient, context.cotangent], { ...window, inputHeight, inputWidth }),
      apply('conv2d', [x, context.cotangent], { ...window, activation: 'linear' }),
    ]
  },
  // These are made by rewriting, after differentiation.
  conv2dPool: 'none',
  conv2dPoolInputGradient: 'none',
  conv2dPoolFilterGradient: 'none',
  maskedMatmul: 'none',
  matmulWithColumnSums: 'none',
  crossEntropyWithGradient: 'none',
  depthwiseConv2d: (context) => {
    const [x, kernel] = [operand(context, 0), operand(context, 1)]
    const window = context.node.attributes
    const [, inputHeight = 1, inputWidth = 1] = x.shape
    const [kernelHeight = 1, kernelWidth = 1] = kernel.shape
    return [
      apply('depthwiseConv2dInputGradient', [context.cotangent, kernel], { ...window, inputHeight, inputWidth }),
      apply('depthwiseConv2dFilterGradient', [x, context.cotangent], { ...window, kernelHeight, kernelWidth }),
    ]
  },
  depthwiseConv2dInputGradient: (context) => {
    const { inputHeight: _h, inputWidth: _w, ...window } = context.node.attributes
    const [gradient, kernel] = [operand(context, 0), operand(context, 1)]
    const [kernelHeight = 1, kernelWidth = 1] = kernel.shape
    return [
      apply('depthwiseConv2d', [context.cotangent, kernel], window),
      apply('depthwiseConv2dFilterGradient', [context.cotangent, gradient], { ...window, kernelHeight, kernelWidth }),
    ]
  },
  depthwiseConv2dFilterGradient: (context) => {
    const { kernelHeight: _h, kernelWidth: _w, ...window } = context.node.attributes
    const [x, gradient] = [operand(context, 0), operand(context, 1)]
    const [, inputHeight = 1, inputWidth = 1] = x.shape
    return [
      apply('depthwiseConv2dInputGradient', [gradient, context.cotangent], { ...window, inputHeight, inputWidth }),
      apply('depthwiseConv2d', [x, context.cotangent], window),
    ]
  },

  maxPool: (context) => {
    const [, inputHeight = 1, inputWidth = 1] = operand(context, 0).shape
    const positions = context.outputs[1]
    if (positions === undefined) throw new RangeError()
    return [
      apply('maxPoolGradient', [context.cotangent, positions], { ...context.node.attributes, inputHeight, inputWidth }),
    ]
  },
  // Linear in the gradient, and each is the other's transpose.
  maxPoolGradient: (context) => {
    const { inputHeight: _h, inputWidth: _w, ...window } = context.node.attributes
    return [apply('maxPoolGather', [context.cotangent, operand(context, 1)], window), undefined]
  },
  maxPoolGather: (context) => {
    const [, inputHeight = 1, inputWidth = 1] = operand(context, 0).shape
    const attributes = { ...context.node.attributes, inputHeight, inputWidth }
    return [apply('maxPoolGradient', [context.cotangent, operand(context, 1)], attributes), undefined]
  },
  averagePool: (context) => {
    const [, inputHeight = 1, inputWidth = 1] = operand(context, 0).shape
    return [apply('averagePoolGradient', [context.cotangent], { ...context.node.attributes, inputHeight, inputWidth })]
  },
  averagePoolGradient: ({ node, cotangent }) => {
    const { inputHeight: _h, inputWidth: _w, ...window } = node.attributes
    return [apply('averagePool', [cotangent], window)]
  },

  resize: (context) => {
    const [, inputHeight = 1, inputWidth = 1] = operand(context, 0).shape
    return [apply('resizeGradient', [context.cotangent], { inputHeight, inputWidth })]
  },
  resizeGradient: (context) => {
    const [, outHeight = 1, outWidth = 1] = operand(context, 0).shape
    return [apply('resize', [context.cotangent], { outHeight, outWidth })]
  },

  softmax: unary((ct, _, y) => throughSoftmax(ct, y)),
  logSoftmax: unary((ct, _, y) => sub(ct, mul(exp(y), lastAxisSum(ct)))),
  crossEntropy: (context) => {
    const [logits, labels] = [operand(context, 0), operand(context, 1)]
    const rows = context.cotangent
    return [
      apply('crossEntropyGradient', [logits, labels, rows], {}),
      labels.dtype === 'f32' ? neg(mul(logSoftmax(logits), reshape(rows, [-1, 1]))) : undefined,
    ]
  },
  // (softmax(logits) * weight - labels) * rows, weight being the sum of a row's labels.
  crossEntropyGradient: (context) => {
    const [logits, labels, rows] = [operand(context, 0), operand(context, 1), operand(context, 2)]
    const ct = context.cotangent
    const probabilities = softmax(logits)
    const scaled = mul(ct, reshape(rows, [-1, 1]))
    const ofEachLoss = apply('crossEntropyGradient', [logits, labels, ones(rows.shape)], {})
    return [
      throughSoftmax(mul(scaled, weightOfLabels(labels, logits)), probabilities),
      labels.dtype === 'f32' ? sub(lastAxisSum(mul(scaled, probabilities)), scaled) : undefined,
      sum(mul(ct, ofEachLoss), { axes: -1 }),
    ]
  },
  dropout: (context) => [
    apply('dropout', [context.cotangent, operand(context, 1)], context.node.attributes),
    undefined,
  ],

  gather: (context) => [
    apply('gatherGradient', [context.cotangent, operand(context, 1)], { rows: operand(context, 0).shape[0] ?? 1 }),
    undefined,
  ],
  gatherGradient: (context) => [apply('gather', [context.cotangent, operand(context, 1)], {}), undefined],
  gatherBatch: 'none', // a data set of bytes
  custom: ({ node, inputs, outputs, cotangents }) => {
    const { op } = node.attributes
    const values = op.vjp?.(
      inputs.map((t) => t.value),
      outputs.map((t) => t.value),
      cotangents.map((t) => t?.value),
    )
    return (values ?? []).map((value, i) => {
      const type = inputs[i]?.value.type
      if (value === undefined || type === undefined) return undefined
      const { shape } = value.type
      if (!sameShape(broadcastShapes(op.name, [value.type, type]), shape))
        throw new WeftgradError(
          'shape',
          `${op.name}: its vjp gives ${shapeText(shape)} for an operand of ${shapeText(type.shape)}.`,
        )
      return new Tensor(value)
    })
  },
}

/** Adds cotangents that reach one value along several ways. */
export function accumulate(known: Tensor | undefined, more: Tensor): Tensor {
  return known === undefined ? more : add(known, more)
}
