/**
 * What a layer is: a description that says which shapes it makes and which weights it wants, and traces its operators.
 * The weights belong to the model. Shapes here are without the batch.
 */

import type { Tensor } from '../../autograd/tensor.ts'
import type { ExplicitPadding } from '../../autograd/window.ts'
import { WeftgradError } from '../../errors.ts'
import type { Shape } from '../../graph/node.ts'
import { shapeText } from '../../graph/node.ts'
import type { Initializer } from '../initializers.ts'

/** A weight that a layer asks its model for. */
export interface WeightSpec {
  /** Within the layer: `kernel`, `bias`, `gamma` ... */
  readonly name: string
  /** Its extents. */
  readonly shape: Shape
  /** Makes its first numbers. */
  readonly initializer: Initializer
  /** False for numbers that no gradient updates: moving statistics. */
  readonly trainable: boolean
}

/** What a layer is told besides inputs and weights. */
export interface CallContext {
  /** True in a step of training, for layers that behave otherwise there. */
  readonly training: boolean
  /** Seeds dropout. */
  readonly seed: number
  /** A u32 tensor whose first element counts steps: the random numbers of a step depend on it. */
  readonly counter: Tensor | undefined
  /** Notes that a weight that is not trainable gets a new value at the end of the step. */
  update(weight: Tensor, value: Tensor): void
}

/** What freezing (freeze.ts) must know of a layer that it may merge with its neighbours. */
export type LayerRole =
  | {
      /** Applies a kernel: a convolution, a dense layer. */
      readonly kind: 'product'
      /** The weight whose last axes, as many numbers as the layer has output channels, count those channels. */
      readonly kernel: string
      /** True where nothing follows product and bias, so that a scale of the result can move into them. */
      readonly takesScale: boolean
      /** True where zeros around the input can become the layer's own padding. */
      readonly takesPadding: boolean
      /** The same layer with changes. */
      rebuilt(changes: RebuiltProduct): Layer
    }
  | {
      /** Shifts and scales each channel by fixed statistics. */
      readonly kind: 'normalization'
      /** Added to the variance. */
      readonly epsilon: number
    }
  | {
      /** Zeros around images. */
      readonly kind: 'zeroPadding'
      /** Pixels on each side. */
      readonly padding: ExplicitPadding
    }

/** How a layer is to differ from the one it is rebuilt from. */
export interface RebuiltProduct {
  /** The merged normalisation's. */
  readonly name?: string
  /** It gets a bias, to hold a normalisation's offset. */
  readonly useBias?: true
  /** It gets the padding of the zeros before it. */
  readonly padding?: ExplicitPadding
}

/**
 * A layer: a description that says which shapes it makes and which weights it wants, and traces its operators. The weights
 * belong to the model. Shapes are without the batch. An object of this type is a layer of your own.
 */
export interface Layer {
  /** Unique in its model; weights are named after it. */
  readonly name: string
  /** Keras' class. */
  readonly className: string
  /**
   * Present where nobody named the layer: the same layer by another name. Its model gives it one that is free, after its
   * class as in Keras: `dense`, `dense_1` ...
   */
  readonly named?: (name: string) => Layer
  /** Absent where freezing leaves the layer as it is. */
  readonly role?: LayerRole
  /** @throws WeftgradError 'shape' for inputs it cannot take. */
  outputShape(inputs: readonly Shape[]): Shape
  /** The weights it wants for inputs of these shapes, in the order in which files have them. */
  weights(inputs: readonly Shape[]): readonly WeightSpec[]
  /** Traces its operators. `weights` come in the order the layer asked for them; `inputs` with the batch. */
  call(inputs: readonly Tensor[], weights: readonly Tensor[], context: CallContext): Tensor
}

/** The one input of a layer that takes one. */
export function first<T>(items: readonly T[], name: string): T {
  const [item] = items
  if (item === undefined) throw new WeftgradError('shape', `${name}: the layer needs an input.`)
  return item
}

/** A weight that the layer asked for. */
export function needed(weight: Tensor | undefined, name: string): Tensor {
  if (weight === undefined) throw new WeftgradError('argument', `${name}: a weight is missing.`)
  return weight
}

/** The channels of the one input: its last extent. Throws 'shape' for an input without axes. */
export function channelsOf(inputs: readonly Shape[], name: string): number {
  const channels = first(inputs, name).at(-1)
  if (channels === undefined) throw new WeftgradError('shape', `${name} needs an input with at least one axis.`)
  return channels
}

/** Of layers that have none. */
export const noWeights = (): readonly WeightSpec[] => []

/**
 * A layer's shape as summaries show it: `[batch, 28, 28, 6]`.
 * @internal
 */
export function batchedShapeText(shape: Shape): string {
  return shapeText(shape).replace('[', shape.length > 0 ? '[batch, ' : '[batch')
}
