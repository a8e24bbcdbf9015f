/**
 * The plan of a study: its parts in order, and their settings. The full plan repeats a published study; the quick one
 * runs the same steps on a tenth of the data, to check that everything works.
 */
import { crossValidationDefaults } from '../crossval/settings.ts'
import { WeftgradError } from '../errors.ts'
import { isRecord } from '../format/json.ts'
import { networkParts, partName, type StudyPart, studyParts } from '../report/parts.ts'
import type { StudyPlan } from '../report/study-report.ts'
import { leastImages } from '../runs/images.ts'
import { common, imageLimit, SettingsTable, toggle, wholeNumber } from '../runs/settings.ts'
import { searchDefaults } from '../search/settings.ts'
import { recipeNames } from '../tasks/recipe.ts'
import type { PublishedTask } from '../tasks/task.ts'
import { zooNames } from '../weights/zoo.ts'

export function fullPlan(task: PublishedTask): StudyPlan {
  const { recipes } = task
  const { maxEpochs, factor } = searchDefaults(task)
  const { folds, epochs } = crossValidationDefaults(task)
  return {
    quick: false,
    skip: [],
    seed: recipes.seed.train.seed,
    seeds: 1,
    limit: null,
    tune: { maxEpochs, factor },
    crossval: { folds, epochs },
    train: { seed: recipes.seed.train.epochs, best: recipes.best.train.epochs },
    transfer: {
      networks: networkParts(task),
      epochs: null,
      limitTrain: null,
      limitTest: null,
      weights: null,
    },
  }
}

/** The quick plan: a tenth of the data, few epochs, a small run of the first pretrained network. */
export function quickPlan(task: PublishedTask): StudyPlan {
  return {
    ...fullPlan(task),
    quick: true,
    limit: Math.round(task.published.trainImages / 10),
    tune: { maxEpochs: 4, factor: 3 },
    crossval: { folds: 5, epochs: 2 },
    train: { seed: 6, best: 6 },
    transfer: {
      networks: networkParts(task).slice(0, 1),
      epochs: 20,
      limitTrain: 2000,
      limitTest: 1000,
      weights: null,
    },
  }
}

/** Names of groups of parts. */
function groupsOf(task: PublishedTask): ReadonlyMap<string, readonly StudyPart[]> {
  return new Map<string, readonly StudyPart[]>([
    [task.network.word, recipeNames],
    ['transfer', networkParts(task)],
  ])
}

/** Parses parts such as `eda,transfer`. Throws WeftgradError 'argument' for an unknown name. */
export function partsNamed(task: PublishedTask, text: string): StudyPart[] {
  const groups = groupsOf(task)
  const all = studyParts(task)
  const words = text.split(',').map((word) => word.trim())
  const named = words.flatMap((word) => {
    const parts = groups.get(word) ?? all.filter((part) => partName(task, part) === word)
    if (parts.length > 0) return parts
    throw new WeftgradError(
      'argument',
      `--skip takes parts of the study, separated by commas, not '${word}'. Parts are ${all.map((part) => partName(task, part)).join(', ')}; ${[...groups.keys()].join(' and ')} stand for several.`,
      { word },
    )
  })
  return all.filter((part) => named.includes(part))
}

/** The reason why a part is left out; undefined if it is run. */
export function leftOut(plan: StudyPlan, part: StudyPart): string | undefined {
  if (plan.skip.includes(part)) return 'It was skipped on request (--skip).'
  const isNetwork = zooNames.some((name) => name === part)
  if (isNetwork && !plan.transfer.networks.some((name) => name === part))
    return 'A quick study runs one pretrained network only.'
  return undefined
}

/** Options of the command that change the plan. */
export interface PlanOptions {
  readonly quick: boolean
  readonly seed: number
  readonly seeds: number
  readonly transferLimit: number | null
}

export const planSettings = new SettingsTable<PlanOptions>({
  quick: toggle('--quick', 'a tenth of the data and few epochs, to check that everything works'),
  seed: common.seed('random seed for all parts (default: 1)'),
  seeds: wholeNumber(
    '--seeds',
    'train each model with n seeds, to show how much its accuracy depends on them',
    'a whole number of seeds from 1 to 100',
    1,
    100,
  ),
  transferLimit: imageLimit(
    '--transfer-limit',
    'use only the first n training images for the pretrained networks',
    leastImages,
  ),
})

/** A plan's settings as options of the command. */
export function planOptionsOf({ quick, seed, seeds, transfer }: StudyPlan): PlanOptions {
  return { quick, seed, seeds, transferLimit: transfer.limitTrain }
}

/** Reads a plan from a `config.json`. The parts' jobs check their own settings. Throws 'format'. */
export function planIn(value: unknown, source: string, task: PublishedTask): StudyPlan {
  const epochs = isRecord(value) ? value[task.network.word] : undefined
  const isWhole =
    isRecord(value) &&
    typeof value.quick === 'boolean' &&
    Array.isArray(value.skip) &&
    typeof value.seed === 'number' &&
    (value.seeds === undefined || typeof value.seeds === 'number') &&
    [value.tune, value.crossval, epochs, value.transfer].every(isRecord) &&
    isRecord(value.transfer) &&
    Array.isArray(value.transfer.networks)
  if (!isWhole)
    throw new WeftgradError('format', `${source} is not the configuration of a study. Name the folder of a study.`, {
      source,
    })
  const { skip, [task.network.word]: _, ...rest } = value
  const skipped = Array.isArray(skip) ? skip : []
  // Everything read here has been checked.
  return {
    // Studies from before there were several seeds had one.
    seeds: 1,
    ...rest,
    skip: studyParts(task).filter((part) => skipped.includes(partName(task, part))),
    train: epochs,
  } as unknown as StudyPlan
}

/** The command for this plan. */
export function commandOf(plan: StudyPlan, task: PublishedTask): string {
  const { quick, seed, seeds, skip, transfer } = plan
  const usual = quick ? quickPlan(task) : fullPlan(task)
  const { limitTrain } = transfer
  return [
    'npx weftgrad study',
    ...(quick ? ['--quick'] : []),
    ...(skip.length > 0 ? [`--skip ${skip.map((part) => partName(task, part)).join(',')}`] : []),
    ...(seed === usual.seed ? [] : [`--seed ${seed}`]),
    ...(seeds === usual.seeds ? [] : [`--seeds ${seeds}`]),
    ...(limitTrain === usual.transfer.limitTrain ? [] : [`--transfer-limit ${limitTrain}`]),
  ].join(' ')
}
