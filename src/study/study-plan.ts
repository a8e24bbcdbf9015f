/**
 * What a study does: its parts in order, and the settings of each. The whole one repeats a published notebook's study; the
 * quick one walks the same way with a tenth of the data, for a look at whether all of it works here.
 */
import { WeftgradError } from '../errors.ts'
import { isRecord } from '../format/json.ts'
import type { PretrainedName } from '../nn/models/pretrained.ts'
import { crossValidationDefaults } from './crossval-settings.ts'
import { recipes } from './recipes.ts'
import { searchDefaults } from './search-settings.ts'
import { commonRules, SettingsTable, whole } from './settings.ts'
import { leastImages, trainDefaults } from './train-options.ts'
import { transferDefaults } from './transfer-settings.ts'

/** In the order in which they run. The comparison follows by itself. */
export const studyParts = [
  'eda',
  'tune',
  'crossval',
  'lenet-seed',
  'lenet-best',
  'vgg16',
  'xception',
  'resnet152v2',
] as const
export type StudyPart = (typeof studyParts)[number]

/** Those of models name the model. */
export const partTitles: Readonly<Record<StudyPart, string>> = {
  eda: 'Look at the data',
  tune: 'Tuning',
  crossval: 'Cross-validation',
  'lenet-seed': "LeNet-5 (notebook's recipe)",
  'lenet-best': 'LeNet-5 (best recipe)',
  vgg16: 'VGG16',
  xception: 'Xception',
  resnet152v2: 'ResNet152V2',
}

/** Words for several parts at once. */
const networkParts: readonly StudyPart[] = ['vgg16', 'xception', 'resnet152v2']
const groups: ReadonlyMap<string, readonly StudyPart[]> = new Map([
  ['lenet', ['lenet-seed', 'lenet-best']],
  ['transfer', networkParts],
])

export interface StudyPlan {
  /** Its figures show that everything works, and are no result. */
  readonly quick: boolean
  readonly skip: readonly StudyPart[]
  readonly seed: number
  /** Images that LeNet-5 is trained on, and at most as many to test; null: all. */
  readonly limit: number | null
  readonly tune: { readonly maxEpochs: number; readonly factor: number }
  readonly crossval: { readonly folds: number; readonly epochs: number }
  /** Epochs by recipe. */
  readonly lenet: { readonly seed: number; readonly best: number }
  readonly transfer: {
    /** The others are left out. */
    readonly networks: readonly PretrainedName[]
    readonly epochs: number
    readonly limitTrain: number | null
    readonly limitTest: number | null
    /** As of `transfer --weights`. */
    readonly weights: string | null
  }
}

export const fullPlan: StudyPlan = {
  quick: false,
  skip: [],
  seed: trainDefaults.seed,
  limit: null,
  tune: { maxEpochs: searchDefaults.maxEpochs, factor: searchDefaults.factor },
  crossval: { folds: crossValidationDefaults.folds, epochs: crossValidationDefaults.epochs },
  lenet: { seed: recipes.seed.train.epochs, best: recipes.best.train.epochs },
  transfer: {
    networks: ['vgg16', 'xception', 'resnet152v2'],
    epochs: transferDefaults.vgg16.epochs,
    limitTrain: null,
    limitTest: null,
    weights: null,
  },
}

/** A tenth of the data, few epochs, one small pass of VGG16. */
export const quickPlan: StudyPlan = {
  ...fullPlan,
  quick: true,
  limit: 6000,
  tune: { maxEpochs: 4, factor: 3 },
  crossval: { folds: 5, epochs: 2 },
  lenet: { seed: 6, best: 6 },
  transfer: { networks: ['vgg16'], epochs: 20, limitTrain: 2000, limitTest: 1000, weights: null },
}

/** `eda,transfer` as parts. Throws WeftgradError 'argument' for a word that names none. */
export function partsNamed(text: string): StudyPart[] {
  const words = text.split(',').map((word) => word.trim())
  const named = words.flatMap((word) => {
    const parts = groups.get(word) ?? studyParts.filter((part) => part === word)
    if (parts.length > 0) return parts
    throw new WeftgradError(
      'argument',
      `--skip takes parts of the study with commas between, not '${word}'. Parts are ${studyParts.join(', ')}; lenet and transfer stand for several.`,
      { word },
    )
  })
  return studyParts.filter((part) => named.includes(part))
}

/** Why a part is not run; undefined where it is. */
export function leftOut(plan: StudyPlan, part: StudyPart): string | undefined {
  if (plan.skip.includes(part)) return 'It was left out on request (--skip).'
  if (networkParts.includes(part) && !plan.transfer.networks.some((name) => name === part))
    return 'A quick study takes one pretrained network only.'
  return undefined
}

/** Options of the command that the plan takes over. */
export const studySettings = new SettingsTable<{ readonly seed: number; readonly transferLimit: number }>({
  seed: commonRules.seed,
  transferLimit: {
    flag: '--transfer-limit',
    what: `a whole number of images, at least ${leastImages}`,
    accepts: whole(leastImages, Number.MAX_SAFE_INTEGER),
  },
})

/** A plan out of a `config.json`. What is inside of each part's settings, the part's job checks. Throws 'format'. */
export function planIn(value: unknown, source: string): StudyPlan {
  const whole =
    isRecord(value) &&
    typeof value.quick === 'boolean' &&
    Array.isArray(value.skip) &&
    typeof value.seed === 'number' &&
    [value.tune, value.crossval, value.lenet, value.transfer].every(isRecord) &&
    isRecord(value.transfer) &&
    Array.isArray(value.transfer.networks)
  if (!whole)
    throw new WeftgradError('format', `${source} is not the configuration of a study. Name the folder of one.`, {
      source,
    })
  // Everything that is looked into here has been checked.
  return value as unknown as StudyPlan
}
