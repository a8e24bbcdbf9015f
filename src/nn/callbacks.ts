/** Callbacks for `fit`, as Keras users know them. What they decide depends only on the results so far. */

import { WeftgradError } from '../errors.ts'
import { aNumber, checkOptions, countFrom0, countFrom1, fraction, type Kind, oneOf } from '../options.ts'
import type { Callbacks, EpochLogs } from './contract.ts'

/** What a callback watches. */
export interface WatchOptions {
  /** The result to watch, such as 'validationF1Score'. 'validationLoss' by default. */
  readonly monitor?: string
  /** Whether smaller or larger values are better. By default 'max' for names that end in Accuracy, Score, precision or recall. */
  readonly mode?: 'min' | 'max'
  /** Smaller changes are no improvement. 0 by default. */
  readonly minDelta?: number
}

const fromZero: Kind = ['a non-negative number', (value) => aNumber[1](value) && (value as number) >= 0]
const aName: Kind = ['the name of a result', (value) => typeof value === 'string' && value !== '']
const watchKinds = { monitor: aName, mode: oneOf('min', 'max'), minDelta: fromZero }

/** Options of {@link earlyStopping}; names are Keras'. */
export interface EarlyStoppingOptions extends WatchOptions {
  /** Number of epochs in a row without improvement after which training ends. 0 by default, as in Keras: after the first. */
  readonly patience?: number
  /** Epochs at the start that do not count. 0 by default. */
  readonly startFromEpoch?: number
}

/**
 * Ends a training when a result stops improving. `fit`'s `restoreBest` and `monitor` say whether the best epoch's weights
 * come back, and which that is.
 * @throws WeftgradError 'argument' for options of another kind; training throws it if there is no such result.
 */
export function earlyStopping(options: EarlyStoppingOptions = {}): Callbacks {
  const kinds = { ...watchKinds, patience: countFrom0, startFromEpoch: countFrom0 }
  const { patience = 0, startFromEpoch = 0, ...watch } = checkOptions('earlyStopping', options, kinds)
  const values = watched('earlyStopping', watch)
  return {
    decide(history) {
      const wait = waiting(values(history).slice(startFromEpoch), watch)
      return { stop: wait > 0 && wait >= patience }
    },
  }
}

/** Options of {@link reduceLROnPlateau}; names and defaults are Keras'. */
export interface PlateauOptions extends WatchOptions {
  /** The rate is multiplied by it, in (0, 1). 0.1 by default. */
  readonly factor?: number
  /** Number of epochs in a row without improvement after which the rate is reduced. 10 by default. */
  readonly patience?: number
  /** Epochs after a reduction that do not count. 0 by default. */
  readonly cooldown?: number
  /** The least rate. 0 by default. */
  readonly minLearningRate?: number
}

/**
 * Reduces the learning rate when a result stops improving. The smallest change that counts is 1e-4 by default, as in
 * Keras. It scales whatever schedule the optimizer has.
 * @throws WeftgradError as {@link earlyStopping}.
 */
export function reduceLROnPlateau(options: PlateauOptions = {}): Callbacks {
  const kinds = {
    ...{ ...watchKinds, factor: fraction, patience: countFrom1, cooldown: countFrom0, minLearningRate: fromZero },
  }
  const checked = checkOptions('reduceLROnPlateau', options, kinds)
  const { factor = 0.1, patience = 10, cooldown = 0, minLearningRate = 0, ...watch } = checked
  const own = { minDelta: 1e-4, ...watch }
  const values = watched('reduceLROnPlateau', own)
  return {
    settings: `reduceLROnPlateau ${JSON.stringify({ factor, patience, cooldown, minLearningRate, ...own })}`,
    decide(history) {
      let rateScale = 1
      let [best, wait, rest]: [number | undefined, number, number] = [undefined, 0, 0]
      for (const [i, value] of values(history).entries()) {
        if (rest > 0) {
          rest--
          wait = 0
        }
        if (improves(value, best, own)) {
          best = value
          wait = 0
        } else if (rest === 0 && ++wait >= patience) {
          const { learningRate = 0 } = history[i] ?? {}
          rateScale =
            learningRate === 0 ? rateScale : Math.max(rateScale * factor, (minLearningRate / learningRate) * rateScale)
          rest = cooldown
          wait = 0
        }
      }
      return { rateScale }
    },
  }
}

/** Reads the watched result of each epoch. */
function watched(
  what: string,
  { monitor = 'validationLoss' }: WatchOptions,
): (history: readonly EpochLogs[]) => number[] {
  return (history) =>
    history.map(({ [monitor]: value, ...others }) => {
      if (value !== undefined) return value
      throw new WeftgradError(
        'argument',
        `${what}: there is no result '${monitor}' of this training; it has ${Object.keys(others).join(', ')}.`,
        { monitor },
      )
    })
}

function improves(value: number, best: number | undefined, watch: WatchOptions): boolean {
  const { monitor = 'validationLoss', minDelta = 0 } = watch
  const { mode = /(accuracy|score|precision|recall)$/i.test(monitor) ? 'max' : 'min' } = watch
  return best === undefined || (mode === 'max' ? value > best + minDelta : value < best - minDelta)
}

/** The epochs in a row without improvement, at the end. */
function waiting(values: readonly number[], watch: WatchOptions): number {
  let [best, wait]: [number | undefined, number] = [undefined, 0]
  for (const value of values) {
    if (improves(value, best, watch)) [best, wait] = [value, 0]
    else wait++
  }
  return wait
}
