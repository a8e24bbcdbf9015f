/**
 * The contract of a layer: it describes its output shapes and weights, and traces its operators. The weights belong to
 * the model. Shapes here exclude the batch.
 */

import { WeftgradError } from '../../errors.ts'
import type { Device } from '../../gpu/device.ts'
import type { DType, Shape } from '../../graph/node.ts'
import { shapeText } from '../../graph/node.ts'
import type { Activation } from '../../operators/activation.ts'
import type { ConvOptions } from '../../operators/conv2d.ts'
import type { Tensor } from '../../operators/tensor.ts'
import type { ExplicitPadding, Pair } from '../../operators/window.ts'
import type { Initializer } from '../initializers.ts'
import type { Regularizer } from '../regularizers.ts'

/** A weight of a layer, to be created by the model. */
export interface WeightSpec {
  /** Its name within the layer: `kernel`, `bias`, `gamma` ... */
  readonly name: string
  /** Its extents. */
  readonly shape: Shape
  /** Creates its initial numbers. */
  readonly initializer: Initializer
  /** False for weights that no gradient updates: moving statistics. */
  readonly trainable: boolean
  /** Its penalty, which training adds to the loss. None by default. */
  readonly regularizer?: Regularizer | undefined
  /**
   * How a device stores it, if not as f32. Freezing sets it.
   * @internal
   */
  readonly encoding?: WeightEncoding | undefined
}

/**
 * A form in which a device stores a weight. The host has float32.
 * @internal
 */
export interface WeightEncoding {
  readonly dtype: DType
  readonly elementBytes: number
  /** Bytes in whole words. Throws 'argument' for a device that cannot read them, 'data' for numbers out of range. */
  encode(numbers: Float32Array, name: string, device: Device): Uint16Array<ArrayBuffer>
  decode(bytes: ArrayBuffer, count: number): Float32Array
}

/** The context of a layer's call, besides inputs and weights. */
export interface CallContext {
  /** True in a training step, for layers that behave differently there. */
  readonly training: boolean
  /** Random seed of dropout. */
  readonly seed: number
  /** The layer's full name in its model: random numbers depend on it. The layer's own name by default. */
  readonly name?: string
  /** A u32 tensor whose first element counts steps: the random numbers of a step depend on it. */
  readonly counter: Tensor | undefined
  /** Sets the new value that a non-trainable weight takes at the end of the step. */
  update(weight: Tensor, value: Tensor): void
}

/** The properties of a layer that freezing (freeze.ts) needs to merge it with its neighbours. */
export type LayerRole =
  | {
      /** Applies a kernel: a convolution, a dense layer. */
      readonly kind: 'product'
      /** The weight whose last axes index the output channels. */
      readonly kernel: string
      /** True if nothing follows product and bias, so that they can absorb a scale of the result. */
      readonly takesScale: boolean
      /** True if zeros around the input can become the layer's padding. */
      readonly takesPadding: boolean
      /** Whether the kernel may be stored in half precision: a matrix product or a convolution of all channels reads it. */
      readonly takesHalf?: boolean
      /**
       * A convolution's kernel size and options, so that another algorithm can take its place.
       * @internal
       */
      readonly convolution?:
        | { readonly kernelSize: Pair; readonly options: ConvOptions & { readonly activation?: Activation } }
        | undefined
      /** Builds the same layer with changes. */
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

/** Changes of a rebuilt layer. */
export interface RebuiltProduct {
  /** The name of the merged normalisation. */
  readonly name?: string
  /** Adds a bias for the normalisation's offset. */
  readonly useBias?: true
  /** The padding of the zeros before it. */
  readonly padding?: ExplicitPadding
}

/**
 * A layer: it describes its output shapes and weights, and traces its operators. The weights belong to the model.
 * Shapes exclude the batch. Write an object of this type for a custom layer.
 */
export interface Layer {
  /** Its name, unique in its model; weights are named after it. */
  readonly name: string
  /** Keras' class name. */
  readonly className: string
  /**
   * Present if the layer is unnamed: builds the same layer with a given name. Its model names it after its class as
   * Keras does: `dense`, `dense_1` ...
   */
  readonly named?: (name: string) => Layer
  /**
   * The settings that build the same layer, by Keras' names in camel case: `{ units: 10, activation: 'softmax' }`. A file
   * describes the layer by its class name and these. Absent for a layer that no file can describe.
   */
  readonly config?: Readonly<Record<string, unknown>>
  /** Absent if freezing leaves the layer as it is. */
  readonly role?: LayerRole
  /** The shape of its output. @throws WeftgradError 'shape' for inputs that it cannot take. */
  outputShape(inputs: readonly Shape[]): Shape
  /** Its weights for inputs of these shapes, in the order of weights files. */
  weights(inputs: readonly Shape[]): readonly WeightSpec[]
  /** Traces its operators. `weights` are in the order of `Layer.weights`; `inputs` have the batch axis. */
  call(inputs: readonly Tensor[], weights: readonly Tensor[], context: CallContext): Tensor
}

/** The input of a layer with one input. */
export function first<T>(items: readonly T[], name: string): T {
  const [item] = items
  if (item === undefined) throw new WeftgradError('shape', `${name}: the layer needs an input.`)
  return item
}

/** Returns a weight that must exist. */
export function needed(weight: Tensor | undefined, name: string): Tensor {
  if (weight === undefined) throw new WeftgradError('argument', `${name}: a weight is missing.`)
  return weight
}

/** The channels of the only input: its last extent. Throws 'shape' for an input without axes. */
export function channelsOf(inputs: readonly Shape[], name: string): number {
  const channels = first(inputs, name).at(-1)
  if (channels === undefined) throw new WeftgradError('shape', `${name} needs an input with at least one axis.`)
  return channels
}

/** The shape of the only input, an image. Throws 'shape' for anything else. */
export function imageShape(inputs: readonly Shape[], name: string): readonly [number, number, number] {
  const input = first(inputs, name)
  const [height, width, channels] = input
  if (height === undefined || width === undefined || channels === undefined || input.length !== 3)
    throw new WeftgradError('shape', `${name} takes images [height, width, channels], not ${shapeText(input)}.`)
  return [height, width, channels]
}

/** The `weights` of layers without weights. */
export const noWeights = (): readonly WeightSpec[] => []

/**
 * A layer's shape in summaries: `[batch, 28, 28, 6]`.
 * @internal
 */
export function batchedShapeText(shape: Shape): string {
  return shapeText(shape).replace('[', shape.length > 0 ? '[batch, ' : '[batch')
}
