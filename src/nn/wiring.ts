/** Connects layers in the order in which they are written: a network's file reads like its figure, top to bottom. */

import type { Shape } from '../graph/node.ts'
import type { Layer } from './layers.ts'
import type { ModelOptions, WiredLayer } from './model.ts'
import { Model } from './model.ts'

/** A point in the network: the index of a layer; -1 is the input. */
export type Place = number

/** Builds networks that branch and merge: with shortcuts, or with several heads. */
export class Wiring {
  readonly #layers: WiredLayer[] = []
  /** The model's input. */
  readonly input: Place = -1

  /** Adds consecutive layers, or models as parts of this one; `from` is the input of the first. Returns the last one's place. */
  chain(from: Place, ...layers: readonly (Layer | Model)[]): Place {
    return layers.reduce((place, layer) => this.merge(layer, place), from)
  }

  /** Adds a layer with several inputs, in the layer's order. Returns its place. */
  merge(layer: Layer | Model, ...from: readonly Place[]): Place {
    return this.#layers.push({ layer, inputs: from }) - 1
  }

  /**
   * The model of all layers added so far. The last one's output is the model's.
   * @throws WeftgradError as `new Model`.
   */
  model(name: string, inputShape: Shape, options?: ModelOptions): Model {
    return new Model(name, inputShape, this.#layers, options)
  }
}
