/**
 * Compares the models of a study: accuracies with intervals, and significant differences. Pure: predictions and numbers
 * in, a table out.
 */
import {
  disagreement,
  type Interval,
  type McNemarTest,
  mcnemarTest,
  meanAndDeviation,
  wilsonInterval,
} from '../statistics.ts'
import { recipeNames } from '../tasks/recipe.ts'
import type { PublishedTask } from '../tasks/task.ts'
import { partName } from './parts.ts'

/** Predictions of test images, identified by their index in the test file. */
export interface Predictions {
  readonly indices: readonly number[]
  readonly labels: readonly number[]
  readonly predicted: readonly number[]
}

/**
 * The name of the study's part in its folder: the task's network by its recipe, or a frozen pretrained network with a
 * trained head.
 */
export type ComparedId = string

interface ModelFigures {
  readonly id: ComparedId
  readonly name: string
  /** Parameters in use: for a pretrained network those up to the last feature layer, and the head's. */
  readonly parameters: number
  readonly trainedParameters: number
  /** Multiply-adds to classify an image as it was tested; averaging over its mirror image doubles them. */
  readonly multiplyAdds: number
  /** Height and width of the model's input images. */
  readonly inputSize: number
  /** The layers whose outputs are features; empty for the task's own network. */
  readonly layers: readonly string[]
  /** Whether the weights are made up, so that the results mean nothing. */
  readonly meaningless: boolean
  /** Number of training images. */
  readonly trainImages: number
  readonly epochs: number
  /** Seconds of training, and of computing features if any. */
  readonly seconds: number
  /** Images trained on, or whose features were computed, per second; null if features came from the cache. */
  readonly imagesPerSecond: number | null
  /** Test accuracies with other seeds, on all its test images. */
  readonly otherSeeds: readonly number[]
}

export interface MeasuredModel extends ModelFigures {
  readonly test: { readonly loss: number; readonly accuracy: number }
  readonly predictions: Predictions
}

export interface ComparedModel extends ModelFigures {
  /** Test results on `testImages` images. The loss is null if the model was tested on more. */
  readonly test: { readonly loss: number | null; readonly accuracy: number }
  /** Number of images that every model was tested on; the model's own number if they have none in common. */
  readonly testImages: number
  /** Number of images that the model was tested on. */
  readonly ownTestImages: number
  /** Its accuracy on them. */
  readonly ownTest: number
  /** 95 % confidence interval (Wilson). */
  readonly interval: Interval
  readonly notebook: number | null
}

/**
 * McNemar's test of two models on the images that both were tested on; `onlyFirst` counts the images that only `first`
 * gets right.
 */
export interface ComparedPair extends McNemarTest {
  readonly first: ComparedId
  readonly second: ComparedId
  readonly images: number
  /** Adjusted p-value (Holm 1979) over the tests against the baseline; null for other pairs. */
  readonly adjusted: number | null
}

export interface Comparison {
  /** The compared models, in the order of the study. */
  readonly models: readonly ComparedModel[]
  /**
   * The model that the others are tested against: the task's network by the published recipe, or else by the other one.
   */
  readonly baseline: ComparedId | null
  /** Each pair of models, except those without common images. */
  readonly pairs: readonly ComparedPair[]
  /** The model with the highest test accuracy and real weights, and those that do not differ from it significantly. */
  readonly leaders: readonly ComparedId[]
}

/** Significance level of the tests. */
export const significance = 0.05

/** Compares the models. Throws WeftgradError 'argument' for a model without test images. */
export function compareModels(all: readonly MeasuredModel[], task: PublishedTask): Comparison {
  const measured = onCommonImages(all)
  const models = measured.map(({ predictions, ...figures }, i): ComparedModel => {
    const { labels, predicted } = predictions
    const right = labels.filter((label, k) => label === predicted[k]).length
    const known: Readonly<Record<string, number | undefined>> = task.published.accuracies
    const ownTestImages = all[i]?.predictions.labels.length ?? 0
    const test = { loss: ownTestImages === labels.length ? figures.test.loss : null, accuracy: right / labels.length }
    return {
      ...figures,
      test,
      testImages: labels.length,
      ownTestImages,
      ownTest: figures.test.accuracy,
      interval: wilsonInterval(right, labels.length),
      notebook: known[figures.id] ?? null,
    }
  })
  const trained = recipeNames.map((recipe) => partName(task, recipe))
  const baseline = trained.find((id) => models.some((model) => model.id === id)) ?? null
  const pairs = measured.flatMap((first, i) =>
    measured.slice(i + 1).flatMap((second) => testOf(...ordered(first, second, baseline))),
  )
  return { models, baseline, pairs: adjusted(pairs, baseline), leaders: leadersOf(models, pairs) }
}

/** The models with only the images that all were tested on; unchanged if there are none. */
function onCommonImages(measured: readonly MeasuredModel[]): readonly MeasuredModel[] {
  const seen = measured.map(({ predictions }) => new Set(predictions.indices))
  const kept = measured.map((model): MeasuredModel => {
    const places = [...model.predictions.indices.keys()].filter((i) =>
      seen.every((indices) => indices.has(model.predictions.indices[i] ?? -1)),
    )
    const at = (numbers: readonly number[]): number[] => places.map((i) => numbers[i] ?? -1)
    const { indices, labels, predicted } = model.predictions
    return { ...model, predictions: { indices: at(indices), labels: at(labels), predicted: at(predicted) } }
  })
  return kept.every(({ predictions }) => predictions.indices.length > 0) ? kept : measured
}

/** The first of the ranking, and all that are not significantly worse. */
function leadersOf(models: readonly ComparedModel[], pairs: readonly ComparedPair[]): ComparedId[] {
  const ranked = rankedOf(models).map(({ id }) => id)
  const [first] = ranked
  return ranked.filter((id) => {
    const pair = first === undefined || id === first ? undefined : pairOf({ pairs }, first, id)
    return pair === undefined || pair.pValue >= significance || pair.onlyFirst <= pair.onlySecond
  })
}

/** The accuracies of a model's trainings over its seeds, with mean and deviation; undefined for a single training. */
export function seedSpread({ ownTest, otherSeeds }: Pick<ComparedModel, 'ownTest' | 'otherSeeds'>) {
  const accuracies = [ownTest, ...otherSeeds]
  return otherSeeds.length === 0 ? undefined : { accuracies, ...meanAndDeviation(accuracies) }
}

/** Models by decreasing accuracy, without those with made-up weights. */
export function rankedOf(models: readonly ComparedModel[]): ComparedModel[] {
  return models.filter(({ meaningless }) => !meaningless).sort((a, b) => b.test.accuracy - a.test.accuracy)
}

/** The test of two models, with `first` as the first one; undefined if there is none. */
export function pairOf(
  { pairs }: Pick<Comparison, 'pairs'>,
  first: ComparedId,
  second: ComparedId,
): ComparedPair | undefined {
  const found = pairs.find((pair) => [pair.first, pair.second].every((id) => id === first || id === second))
  if (found === undefined || found.first === first) return found
  return { ...found, first, second, onlyFirst: found.onlySecond, onlySecond: found.onlyFirst }
}

/** The lead of the first model on their common images, as a difference of accuracies. */
export function leadOf({ onlyFirst, onlySecond, images }: ComparedPair): number {
  return (onlyFirst - onlySecond) / images
}

/** Whether the difference is significant, by the adjusted p-value if there is one. */
export function isSignificant({ adjusted, pValue }: ComparedPair): boolean {
  return (adjusted ?? pValue) < significance
}

function ordered<M extends { readonly id: ComparedId }>(a: M, b: M, baseline: ComparedId | null): [M, M] {
  return a.id === baseline ? [b, a] : [a, b]
}

function testOf(first: MeasuredModel, second: MeasuredModel): ComparedPair[] {
  const place = new Map(second.predictions.indices.map((index, k) => [index, k]))
  const common = first.predictions.indices.flatMap((index, i) => {
    const k = place.get(index)
    return k === undefined ? [] : [{ i, k }]
  })
  if (common.length === 0) return []
  const labels = common.map(({ i }) => first.predictions.labels[i] ?? 0)
  const counts = disagreement(
    labels,
    common.map(({ i }) => first.predictions.predicted[i] ?? -1),
    common.map(({ k }) => second.predictions.predicted[k] ?? -1),
  )
  return [{ first: first.id, second: second.id, images: common.length, adjusted: null, ...mcnemarTest(counts) }]
}

/**
 * Holm's step-down: multiplies the smallest of m p-values by m, the next by m - 1, and so on, keeping them in order.
 */
function adjusted(pairs: readonly ComparedPair[], baseline: ComparedId | null): ComparedPair[] {
  const against = pairs.filter(({ second }) => second === baseline).sort((a, b) => a.pValue - b.pValue)
  let floor = 0
  const values = new Map(
    against.map((pair, i) => {
      floor = Math.max(floor, Math.min(1, pair.pValue * (against.length - i)))
      return [pair, floor] as const
    }),
  )
  return pairs.map((pair) => ({ ...pair, adjusted: values.get(pair) ?? null }))
}
