/**
 * The models of a study side by side: accuracies with intervals, and which differences are more than chance. Pure:
 * predictions and figures in, a table out.
 */
import { disagreement, type Interval, type McNemarTest, mcnemarTest, wilsonInterval } from '../statistics.ts'
import { recipeNames } from '../tasks/recipe.ts'
import type { Task } from '../tasks/task.ts'
import { partName } from './parts.ts'

/** Of test images, named by where they stand in the test file. */
export interface Predictions {
  readonly indices: readonly number[]
  readonly labels: readonly number[]
  readonly predicted: readonly number[]
}

/**
 * As the study's part is named in its folder: the task's network by its recipe, or a frozen pretrained network with a
 * trained head.
 */
export type ComparedId = string

interface ModelFigures {
  readonly id: ComparedId
  readonly name: string
  /** Of what runs: for a pretrained network its layers up to those that features come from, and the head. */
  readonly parameters: number
  readonly trainedParameters: number
  /** Height and width of the images that the model sees. */
  readonly inputSize: number
  /** The layers whose outputs are features; empty for the task's own network. */
  readonly layers: readonly string[]
  /** Made-up weights: its figures say nothing. */
  readonly meaningless: boolean
  /** Images that weights were trained on. */
  readonly trainImages: number
  readonly epochs: number
  /** Of training, and of computing features where there are some. */
  readonly seconds: number
  /** That were trained on, or whose features were computed; null where those came from the cache. */
  readonly imagesPerSecond: number | null
}

export interface MeasuredModel extends ModelFigures {
  readonly test: { readonly loss: number; readonly accuracy: number }
  readonly predictions: Predictions
}

export interface ComparedModel extends ModelFigures {
  /** On `testImages` images. The loss is null where those are not all that the model was tested on. */
  readonly test: { readonly loss: number | null; readonly accuracy: number }
  /** Those that every model was tested on; the model's own where there are none in common. */
  readonly testImages: number
  /** How many the model was tested on. */
  readonly ownTestImages: number
  /** 95 %, by Wilson. */
  readonly interval: Interval
  readonly notebook: number | null
}

/** McNemar's test of two models on the images that both were tested on; `onlyFirst` counts those that `first` alone has right. */
export interface ComparedPair extends McNemarTest {
  readonly first: ComparedId
  readonly second: ComparedId
  readonly images: number
  /** By Holm (1979), over the tests against the baseline; null for other pairs. */
  readonly adjusted: number | null
}

export interface Comparison {
  /** The models that are compared, in the order of the study. */
  readonly models: readonly ComparedModel[]
  /** What the others are tested against: the task's network by the published recipe, or by the other one. */
  readonly baseline: ComparedId | null
  /** Each pair of models, except those without common images. */
  readonly pairs: readonly ComparedPair[]
  /** The highest test accuracy of those whose weights mean something, and those that the test cannot tell from it. */
  readonly leaders: readonly ComparedId[]
}

/** How often chance may call equal models different. */
export const significance = 0.05

/** Throws WeftgradError 'argument' for a model without test images. */
export function compareModels(all: readonly MeasuredModel[], task: Task): Comparison {
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

/** The models with the predictions of those images that all of them were tested on; as they are where there are none. */
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

/** The first of the ranking, and whoever no test puts behind it. */
function leadersOf(models: readonly ComparedModel[], pairs: readonly ComparedPair[]): ComparedId[] {
  const ranked = rankedOf(models).map(({ id }) => id)
  const [first] = ranked
  return ranked.filter((id) => {
    const pair = first === undefined || id === first ? undefined : pairOf({ pairs }, first, id)
    return pair === undefined || pair.pValue >= significance || pair.onlyFirst <= pair.onlySecond
  })
}

/** From the best accuracy on; without those that mean nothing. */
export function rankedOf(models: readonly ComparedModel[]): ComparedModel[] {
  return models.filter(({ meaningless }) => !meaningless).sort((a, b) => b.test.accuracy - a.test.accuracy)
}

/** The test of two models, `first` being the first one named; undefined where there is none. */
export function pairOf(
  { pairs }: Pick<Comparison, 'pairs'>,
  first: ComparedId,
  second: ComparedId,
): ComparedPair | undefined {
  const found = pairs.find((pair) => [pair.first, pair.second].every((id) => id === first || id === second))
  if (found === undefined || found.first === first) return found
  return { ...found, first, second, onlyFirst: found.onlySecond, onlySecond: found.onlyFirst }
}

/** How much more of their common images the first model gets right: a difference of shares. */
export function leadOf({ onlyFirst, onlySecond, images }: ComparedPair): number {
  return (onlyFirst - onlySecond) / images
}

/** By the adjusted probability where there is one. */
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

/** Holm's step-down: the smallest of m probabilities counts m-fold, the next (m - 1)-fold, and none less than one before. */
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
