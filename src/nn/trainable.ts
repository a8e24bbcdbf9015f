/**
 * What optimizers update: weights whose numbers lie in one flat buffer, a model's or tensors of one's own, and which
 * optimizer updates which of them. Gradients and moments have the same layout in buffers of their own.
 */

import { WeftgradError } from '../errors.ts'
import { alignUp } from '../gpu/alignment.ts'
import { currentDevice } from '../gpu/current-device.ts'
import type { Device, DeviceBuffer } from '../gpu/device.ts'
import { bytesOf } from '../graph/plan/plan.ts'
import type { Tensor } from '../operators/tensor.ts'
import { KeptTensor } from '../operators/tensor.ts'
import type { Model } from './model.ts'
import type { Optimizer, OptimizerGroup } from './optimizers.ts'

/** A weight to train. */
export interface TrainableWeight {
  /** Its name: an optimizer's group selects weights by it. */
  readonly name: string
  /** Its numbers on the device, f32. */
  readonly tensor: Tensor
  /** Its place in the flat buffer, in bytes. */
  readonly offset: number
}

/** Weights to train, in the order of their offsets. */
export interface Trainable {
  /** Names them in errors. */
  readonly name: string
  /** Their numbers. */
  readonly buffer: DeviceBuffer
  /** In the order of their offsets. */
  readonly weights: readonly TrainableWeight[]
}

/** A model's trainable weights. The model must be on a device. */
export function trainableOf(model: Model): Trainable {
  return { name: model.name, buffer: model.trainableBuffer, weights: model.trainableWeights }
}

/**
 * Tensors to train without a model: they read like other tensors, and `trainStep` updates them. The set owns their
 * memory: `dispose()` or `using`.
 */
export class Parameters<Names extends string = string> implements Trainable {
  /** Its name in errors. */
  readonly name = 'parameters'
  /** The numbers of all tensors. */
  readonly buffer: DeviceBuffer
  /** The tensors with their places in the buffer. */
  readonly weights: readonly TrainableWeight[]
  /** The tensors, by their names. */
  readonly tensors: Readonly<Record<Names, Tensor>>

  /**
   * Use `nn.parameters`.
   * @internal
   */
  constructor(buffer: DeviceBuffer, weights: readonly TrainableWeight[]) {
    this.buffer = buffer
    this.weights = weights
    this.tensors = Object.fromEntries(weights.map((weight) => [weight.name, weight.tensor])) as Record<Names, Tensor>
  }

  /** Frees the memory. The tensors cannot be used afterwards. */
  dispose(): void {
    this.buffer.dispose()
  }

  /** `dispose`, for `using`. */
  [Symbol.dispose](): void {
    this.dispose()
  }
}

/**
 * Puts tensors on a device, as parameters that `trainStep` updates: `nn.parameters({ w: tensor(...), b: tensor(...) })`.
 * They are computed once; `device` is by default the one opened last.
 * @throws WeftgradError 'argument' for none, or one that is not f32; what computing them throws.
 */
export async function parameters<Names extends string>(
  initial: Readonly<Record<Names, Tensor>>,
  device: Device = currentDevice(),
): Promise<Parameters<Names>> {
  const entries = Object.entries<Tensor>(initial)
  const bad = entries.find(([, { dtype }]) => dtype !== 'f32')
  if (entries.length === 0 || bad !== undefined)
    throw new WeftgradError(
      'argument',
      bad === undefined
        ? 'parameters: give at least one tensor.'
        : `parameters: ${bad[0]} is ${bad[1]}; only f32 is trained.`,
    )
  const numbers = await Promise.all(entries.map(([, one]) => one.data({ device })))
  let bytes = 0
  const places = entries.map(([name, { value }]) => {
    const offset = bytes
    bytes += alignUp(bytesOf(value.type))
    return { name, offset, type: value.type }
  })
  const buffer = device.allocate(bytes, 'parameters')
  const weights = places.map(({ name, offset, type }, i) => {
    const slice = buffer.slice(offset, bytesOf(type))
    device.write(slice, Float32Array.from(numbers[i] ?? []))
    return { name, offset, tensor: new KeptTensor(slice, type) }
  })
  return new Parameters<Names>(buffer, weights)
}

/** A part of the flat buffers. */
export interface Range {
  /** In bytes. */
  readonly from: number
  readonly bytes: number
}

/** An optimizer, and what it updates. */
export interface Update {
  readonly optimizer: Optimizer
  /** Indices of its weights. */
  readonly weights: readonly number[]
  /** Their places, with the gaps between them. */
  readonly ranges: readonly Range[]
}

/**
 * Which optimizer updates what. A weight belongs to the first group that selects it.
 * @throws WeftgradError 'argument' for a weight without a group, and a group without weights.
 */
export function updatesOf(
  { name, buffer, weights }: Trainable,
  optimizer: Optimizer | readonly OptimizerGroup[],
): readonly Update[] {
  const groups: readonly OptimizerGroup[] = isList(optimizer) ? optimizer : [{ weights: () => true, optimizer }]
  const groupOf = weights.map((weight) => groups.findIndex((group) => selects(group, weight.name)))
  const lost = weights.find((_, i) => groupOf[i] === -1)
  if (lost !== undefined)
    throw new WeftgradError(
      'argument',
      `${name}: no optimizer's group selects ${lost.name}. Add a last group with weights: () => true.`,
    )
  return groups.map(({ optimizer }, group) => {
    const own = weights.flatMap((_, i) => (groupOf[i] === group ? [i] : []))
    if (own.length === 0 && groups.length > 1)
      throw new WeftgradError('argument', `${name}: group ${group + 1} of the optimizers selects no weight.`)
    const ranges: Range[] = []
    for (const i of own) {
      const from = i === 0 ? 0 : (weights[i]?.offset ?? 0)
      const end = weights[i + 1]?.offset ?? buffer.bytes
      const last = ranges.at(-1)
      if (last !== undefined && last.from + last.bytes === from)
        ranges[ranges.length - 1] = { from: last.from, bytes: end - last.from }
      else ranges.push({ from, bytes: end - from })
    }
    return { optimizer, weights: own, ranges }
  })
}

/** The text of a checkpoint's setting. */
export function optimizerText(optimizer: Optimizer | readonly OptimizerGroup[]): string {
  if (!isList(optimizer)) return optimizer.name
  return optimizer.map(({ weights, optimizer: { name } }) => `${String(weights)}: ${name}`).join('; ')
}

const isList = (optimizer: unknown): optimizer is readonly OptimizerGroup[] => Array.isArray(optimizer)

function selects({ weights }: OptimizerGroup, name: string): boolean {
  return typeof weights === 'function' ? weights(name) : weights.test(name)
}
