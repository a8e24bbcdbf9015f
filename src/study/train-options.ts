/** The settings of the LeNet-5 job: names, defaults, what each accepts. */
import { commonRules, SettingsTable, whole } from './settings.ts'

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

/** Below 10 images there is no tenth for validation. */
export const leastImages = 10

/** Rules of the settings that say which images there are. */
export const imageRules = {
  split: {
    flag: '--split',
    what: "'official' or 'seed'",
    accepts: (value: unknown) => value === 'official' || value === 'seed',
  },
  limit: {
    flag: '--limit',
    what: `a whole number of images, at least ${leastImages}`,
    accepts: (value: unknown) => value === null || whole(leastImages, Number.MAX_SAFE_INTEGER)(value),
  },
} as const

/** Rules of whatever trains LeNet-5. */
export const lenetRules = {
  ...commonRules,
  ...imageRules,
  units: {
    flag: '--units',
    what: 'the sizes of the two hidden dense layers, whole numbers from 1 to 4,096, such as 256,32',
    accepts: (value: unknown) => Array.isArray(value) && value.length === 2 && value.every(whole(1, 4_096)),
  },
} as const

export const trainSettings = new SettingsTable<TrainSettings>({
  ...lenetRules,
  restoreBest: { flag: '--no-restore-best', what: 'true or false', accepts: (value) => typeof value === 'boolean' },
})
