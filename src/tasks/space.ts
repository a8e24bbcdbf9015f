/**
 * A space of hyperparameters: a few dimensions, each with the values it may take. Points are numbered, so that all can
 * be enumerated and some drawn without a list.
 */
import { WeftgradError } from '../errors.ts'
import type { Random } from '../random.ts'

export type HyperparameterValue = number | string | boolean

/** The values of each dimension, in the order of a grid search. */
export type Dimensions = Readonly<Record<string, readonly HyperparameterValue[]>>

/** A value for each dimension. */
export type Point<D extends Dimensions = Dimensions> = { readonly [Name in keyof D]: D[Name][number] }

export class Space<D extends Dimensions = Dimensions> {
  readonly dimensions: D
  /** Number of points. */
  readonly size: number

  /** Makes a space. Throws WeftgradError 'argument' without dimensions, or for one that is empty or repeats a value. */
  constructor(dimensions: D) {
    const entries = Object.entries(dimensions)
    if (entries.length === 0)
      throw new WeftgradError(
        'argument',
        'A space needs at least one dimension, such as { learning_rate: [1e-2, 1e-3] }.',
      )
    for (const [name, values] of entries)
      if (values.length === 0 || new Set(values).size !== values.length)
        throw new WeftgradError(
          'argument',
          `'${name}' needs one or more different values, not [${values.join(', ')}].`,
          {
            name,
          },
        )
    this.dimensions = dimensions
    this.size = entries.reduce((product, [, values]) => product * values.length, 1)
  }

  /**
   * Returns the point with this number; the last dimension changes fastest. Throws WeftgradError 'argument' if there is
   * none.
   */
  at(index: number): Point<D> {
    if (!Number.isInteger(index) || index < 0 || index >= this.size)
      throw new WeftgradError('argument', `The space has points 0 to ${this.size - 1}, not ${index}.`, { index })
    let rest = index
    const chosen: [string, HyperparameterValue][] = []
    for (const [name, values] of Object.entries(this.dimensions).reverse()) {
      const value = values[rest % values.length]
      if (value !== undefined) chosen.unshift([name, value])
      rest = Math.floor(rest / values.length)
    }
    // Each dimension has one of its values.
    return Object.fromEntries(chosen) as Point<D>
  }

  /** Draws up to `count` different points in random order. */
  sample(count: number, random: Random): Point<D>[] {
    const order = random.shuffle(Array.from({ length: this.size }, (_, i) => i))
    return order.slice(0, count).map((index) => this.at(index))
  }
}
