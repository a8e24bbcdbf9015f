/** Layers wired as they are written: a network's file reads like its figure, top to bottom. */

import type { Shape } from '../graph/node.ts'
import type { Layer } from './layers.ts'
import type { ModelOptions, WiredLayer } from './model.ts'
import { Model } from './model.ts'

/** Where in the network one is: the number of a layer; -1 is the input. */
export type Place = number

/** Wires layers that branch and merge: a network with shortcuts, or several heads' worth of features. */
export class Wiring {
  readonly #layers: WiredLayer[] = []
  /** The model's input. */
  readonly input: Place = -1

  /** Adds layers one after the other, the first fed by `from`. Gives the last one's place. */
  chain(from: Place, ...layers: readonly Layer[]): Place {
    return layers.reduce((place, layer) => this.merge(layer, place), from)
  }

  /** Adds a layer that several others feed, in the order it takes them. Gives its place. */
  merge(layer: Layer, ...from: readonly Place[]): Place {
    return this.#layers.push({ layer, inputs: from }) - 1
  }

  /**
   * The layers in the order in which they were written. The last one's output is the model's.
   * @throws WeftgradError as `new Model`.
   */
  model(name: string, inputShape: Shape, options?: ModelOptions): Model {
    return new Model(name, inputShape, this.#layers, options)
  }
}
