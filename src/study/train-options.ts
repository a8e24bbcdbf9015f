/**
 * The settings of the LeNet-5 job: names, defaults, what each accepts. One table, which the command line, the job and its
 * `config.json` share. Errors name a setting as the command line does.
 */
import { WeftgradError } from '../errors.ts'

export interface TrainSettings {
  readonly epochs: number
  readonly batchSize: number
  readonly learningRate: number
  /** Sizes of the two hidden dense layers. */
  readonly units: readonly [number, number]
  /** Draws initial weights, splits and the order of the images. */
  readonly seed: number
  /** `official`: 60,000 to train, 10,000 to test. `seed`: a tenth of the 60,000, without duplicates, is the test set. */
  readonly split: 'official' | 'seed'
  /** Only the first images: this many to train (validation included), and at most as many to test. */
  readonly limit: number | null
  /** Whether the weights of the best validation epoch are kept, or those of the last. */
  readonly restoreBest: boolean
}

export const trainDefaults: TrainSettings = {
  epochs: 15,
  batchSize: 32,
  learningRate: 1e-3,
  units: [256, 32],
  seed: 1,
  split: 'official',
  limit: null,
  restoreBest: true,
}

export type TrainSetting = keyof TrainSettings

interface Rule {
  readonly flag: string
  /** Goes on after 'has to be'. */
  readonly what: string
  readonly accepts: (value: unknown) => boolean
}

const whole =
  (least: number, most: number) =>
  (value: unknown): boolean =>
    typeof value === 'number' && Number.isSafeInteger(value) && value >= least && value <= most

/** Below 10 images there is no tenth for validation. */
const leastLimit = 10

const rules: Readonly<Record<TrainSetting, Rule>> = {
  epochs: { flag: '--epochs', what: 'a whole number from 1 to 10,000', accepts: whole(1, 10_000) },
  batchSize: { flag: '--batch-size', what: 'a whole number from 1 to 8,192', accepts: whole(1, 8_192) },
  learningRate: {
    flag: '--learning-rate',
    what: 'a number above 0 and up to 10',
    accepts: (value) => typeof value === 'number' && value > 0 && value <= 10,
  },
  units: {
    flag: '--units',
    what: 'the sizes of the two hidden dense layers, whole numbers from 1 to 4,096, such as 256,32',
    accepts: (value) => Array.isArray(value) && value.length === 2 && value.every(whole(1, 4_096)),
  },
  seed: { flag: '--seed', what: 'a whole number from 0 to 2^53 - 1', accepts: whole(0, Number.MAX_SAFE_INTEGER) },
  split: {
    flag: '--split',
    what: "'official' or 'seed'",
    accepts: (value) => value === 'official' || value === 'seed',
  },
  limit: {
    flag: '--limit',
    what: `a whole number of images, at least ${leastLimit}`,
    accepts: (value) => value === null || whole(leastLimit, Number.MAX_SAFE_INTEGER)(value),
  },
  restoreBest: { flag: '--no-restore-best', what: 'true or false', accepts: (value) => typeof value === 'boolean' },
}

export const trainSettingNames = Object.keys(rules) as readonly TrainSetting[]

export function flagOf(setting: TrainSetting): string {
  return rules[setting].flag
}

/**
 * Throws WeftgradError 'argument' for a value that the setting does not take.
 * @param shown the value as the user wrote it.
 */
export function checkTrainSetting(setting: TrainSetting, value: unknown, shown: string = textOf(value)): void {
  const { flag, what, accepts } = rules[setting]
  if (accepts(value)) return
  throw new WeftgradError('argument', `${flag} has to be ${what}, not '${shown}'.`, { setting, value: shown })
}

/** The given settings with defaults for the rest. Throws WeftgradError 'argument', naming the setting. */
export function resolveTrainSettings(given: Partial<TrainSettings>): TrainSettings {
  const chosen = trainSettingNames.map((name) => [name, given[name] ?? trainDefaults[name]] as const)
  for (const [name, value] of chosen) checkTrainSetting(name, value)
  // Each value has just been checked by its setting's rule.
  return Object.fromEntries(chosen) as unknown as TrainSettings
}

/**
 * Settings out of a `config.json`. Throws WeftgradError 'format' where one is missing or out of range.
 * @param source names the file in errors.
 */
export function readTrainSettings(value: unknown, source: string): TrainSettings {
  const found: Readonly<Record<string, unknown>> = typeof value === 'object' && value !== null ? { ...value } : {}
  for (const name of trainSettingNames) {
    if (rules[name].accepts(found[name])) continue
    throw new WeftgradError(
      'format',
      `${source} is not the configuration of a run: '${name}' has to be ${rules[name].what}, not ${textOf(found[name])}.`,
      { source, setting: name },
    )
  }
  const known = Object.fromEntries(trainSettingNames.map((name) => [name, found[name]]))
  // Each value has just been checked by its rule.
  return known as unknown as TrainSettings
}

/** The first given setting that differs from the run's, which a resumed run refuses. */
export function contradiction(run: TrainSettings, given: Partial<TrainSettings>): TrainSetting | undefined {
  return trainSettingNames.find((name) => given[name] !== undefined && textOf(given[name]) !== textOf(run[name]))
}

export function textOf(value: unknown): string {
  return Array.isArray(value) ? value.join(',') : String(value)
}
