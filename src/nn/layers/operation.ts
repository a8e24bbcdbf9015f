/**
 * A layer for what no layer of Keras expresses: one operator, with its attributes. Models from other tools' files consist of
 * Keras' layers and of these. Files describe it by its config, like every layer.
 */

import { WeftgradError } from '../../errors.ts'
import type { Shape } from '../../graph/node.ts'
import { nameHint } from '../../near-names.ts'
import { zeros } from '../../operators/index.ts'
import type { Operand } from '../../operators/operator.ts'
import type { Tensor } from '../../operators/tensor.ts'
import { anArray, anObject, aString, checkOptions, countFrom1, isRecord, required } from '../../options.ts'
import { zerosInitializer } from '../initializers.ts'
import type { Layer, WeightSpec } from './layer.ts'
import { needed } from './layer.ts'
import { type Named, namedLayer } from './named.ts'
import { operations } from './operations.ts'

/** A weight among the operands of an {@link operation}. */
export interface OperationWeight {
  /** Its extents, without a batch: it serves every example. */
  readonly shape: Shape
  /** Whether an optimizer may update it. True by default. */
  readonly trainable?: boolean
}

/** Options of {@link operation}. */
export interface OperationOptions {
  /** The operator: `'mean'`, `'matmul'` ... */
  readonly operator: string
  /** Its settings: `{ axes: [1, 2], keepDims: true }`. Axes count the batch, which is axis 0. */
  readonly attributes?: Readonly<Record<string, unknown>>
  /**
   * Its operands in order: null for the layer's next input, a number, or a weight, called `operand_` and its place. The inputs
   * alone by default.
   */
  readonly operands?: readonly (null | number | OperationWeight)[]
}

/**
 * One operator as a layer: `operation({ operator: 'mean', attributes: { axes: [1, 2] } })`, or, with a weight `operand_1`,
 * `operation({ operator: 'add', operands: [null, { shape: [8] }] })`. An unknown operator's error lists them all.
 * @throws WeftgradError 'argument' for an unknown operator or attribute; 'shape', in a model, for inputs that it cannot take.
 */
export function operation(...given: Named<[options: OperationOptions]>): Layer {
  return namedLayer('operation', given, makeOperation)
}

function makeOperation(name: string, options: OperationOptions): Layer {
  const kinds = { operator: required(aString), attributes: anObject, operands: anArray }
  const { operator, attributes = {}, operands } = checkOptions(name, options, kinds)
  if (!Object.hasOwn(operations, operator))
    throw new WeftgradError(
      'argument',
      `${name}: there is no operator ${operator}${nameHint(operator, Object.keys(operations), `Known: ${Object.keys(operations).join(', ')}.`)}`,
      { name, operator },
    )
  const { kinds: settings, apply } = operations[operator] ?? {}
  if (settings === undefined || apply === undefined) throw new RangeError(operator)
  checkOptions(`${name} (${operator})`, attributes, settings)
  for (const operand of operands ?? [])
    if (operand !== null && typeof operand !== 'number' && !isWeight(operand))
      throw new WeftgradError('argument', `${name}: an operand is null, a number, or { shape } of a weight.`, { name })

  /** The operator's operands, from the layer's inputs and weights. */
  const merged = (inputs: readonly Tensor[], weights: readonly Tensor[]): Operand[] => {
    if (operands === undefined) return [...inputs]
    const [nextInput, nextWeight] = [inputs.values(), weights.values()]
    return operands.map((operand) => {
      if (typeof operand === 'number') return operand
      return needed((operand === null ? nextInput : nextWeight).next().value, name)
    })
  }
  const weightSpecs = (operands ?? []).flatMap((operand, i): WeightSpec[] => {
    if (operand === null || typeof operand === 'number') return []
    const { shape, trainable = true } = operand
    return [{ name: `operand_${i}`, shape, initializer: zerosInitializer, trainable }]
  })
  return {
    name,
    className: 'Operation',
    outputShape(inputs) {
      // Tracing runs nothing, and checks the shapes. Any batch will do.
      const traced = inputs.map((shape) => zeros([1, ...shape]))
      const result = apply(
        merged(
          traced,
          weightSpecs.map(({ shape }) => zeros(shape)),
        ),
        attributes,
      )
      return result.shape.slice(1)
    },
    weights: () => weightSpecs,
    call: (inputs, weights) => apply(merged(inputs, weights), attributes),
  }
}

function isWeight(operand: unknown): operand is OperationWeight {
  return (
    isRecord(operand) &&
    Array.isArray(operand.shape) &&
    operand.shape.every(countFrom1[1]) &&
    (operand.trainable === undefined || typeof operand.trainable === 'boolean')
  )
}
