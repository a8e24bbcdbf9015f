/**
 * Interprets the results of a comparison in sentences. Pure. The numbers select every sentence, so that it stays true
 * when they change.
 */
import { count, decimal, listed, percent, points, probability } from '../numbers.ts'
import type { PublishedFigures, PublishedTask } from '../tasks/task.ts'
import {
  type ComparedId,
  type ComparedModel,
  type ComparedPair,
  type Comparison,
  isSignificant,
  leadOf,
  pairOf,
  rankedOf,
  seedSpread,
  significance,
} from './comparison.ts'
import { partName } from './parts.ts'

/** Accuracies with a fresh model per fold, and with one model reused across folds. */
export interface CrossValidationFigures {
  readonly folds: number
  readonly honest: { readonly mean: number; readonly standardDeviation: number }
  readonly carried: { readonly mean: number; readonly test: number } | null
}

/** Facts that the comparison does not hold. */
export interface CommentaryContext {
  readonly quick: boolean
  readonly crossval: CrossValidationFigures | undefined
}

/** Interprets the results in sentences. */
export function commentary(comparison: Comparison, task: PublishedTask, context: CommentaryContext): string[] {
  const { published } = task
  return [
    ...(context.quick ? [quickStudyText] : []),
    ...winnerText(comparison),
    ...baselineText(comparison),
    ...recipeText(comparison, task),
    ...publishedText(comparison, published),
    ...rankingText(comparison, published),
    ...reasonText(comparison, published),
    ...crossvalText(context, task),
    ...limitsText(comparison, context),
  ]
}

/** What a quick study is good for. */
export const quickStudyText =
  'This was a quick study, on a part of the data and for a few epochs: it shows that everything works. Do not quote its numbers.'

function winnerText(comparison: Comparison): string[] {
  const [first, second] = rankedOf(comparison.models)
  if (first === undefined) return []
  const { interval, test, testImages } = first
  const best = `${first.name} has the highest test accuracy: ${percent(test.accuracy)} on ${count(testImages)} images, with a 95 % confidence interval from ${percent(interval.low)} to ${percent(interval.high)}.`
  const level = comparison.leaders.length > 1 ? [levelText(comparison)] : []
  return second === undefined ? [best] : [...level, best, sureText(comparison, first, second)]
}

/** Says that no single model is best, if several lead. */
export function levelText({ models, leaders }: Comparison): string {
  const names = models.filter(({ id }) => leaders.includes(id)).map(({ name }) => name)
  return `No single model is best: these test images cannot separate ${listed(names)}.`
}

/** Says how sure it is that the first model is better than the second. */
export function sureText(comparison: Comparison, first: ComparedModel, second: ComparedModel): string {
  const pair = pairOf(comparison, first.id, second.id)
  if (pair === undefined)
    return `Next is ${second.name} with ${percent(second.test.accuracy)}; the two were tested on different images, so their difference cannot be tested.`
  const { onlyFirst, onlySecond, images, pValue } = pair
  const counts = `of ${count(images)} images, only ${first.name} gets ${count(onlyFirst)} right, and only ${second.name} ${count(onlySecond)}`
  const next = `Next is ${second.name} with ${percent(second.test.accuracy)}`
  const test = `McNemar's test, p ${equals(pValue)}`
  return pValue < significance
    ? onlyFirst > onlySecond
      ? `${next}. The lead is significant: ${counts} (${test}).`
      : `${next}. On the images that both were tested on, the order is reversed, and significantly: ${counts} (${test}).`
    : `${next}. The difference is not significant: ${counts} (${test}).`
}

function equals(pValue: number): string {
  const text = probability(pValue)
  return text.startsWith('<') ? text : `= ${text}`
}

function baselineText(comparison: Comparison): string[] {
  const { baseline, models, pairs } = comparison
  const against = pairs.filter(({ second }) => second === baseline)
  const nameOf = (id: ComparedId): string => models.find((model) => model.id === id)?.name ?? id
  if (baseline === null || against.length < 2) return []
  const significant = against.filter(isSignificant)
  const better = significant.filter(({ onlyFirst, onlySecond }) => onlyFirst > onlySecond)
  const worse = significant.filter(({ onlyFirst, onlySecond }) => onlyFirst < onlySecond)
  const open = against.filter((pair) => !isSignificant(pair))
  const clause = (some: readonly ComparedPair[], what: string): string[] =>
    some.length === 0 ? [] : [`${what}: ${listed(some.map(({ first }) => nameOf(first)))}`]
  const clauses = [...clause(better, 'better'), ...clause(worse, 'worse'), ...clause(open, 'no significant difference')]
  return [
    `Compared with ${nameOf(baseline)}, at 5 % over the ${against.length} tests together (McNemar, with Holm's correction): ${clauses.join('; ')}.`,
  ]
}

function recipeText(comparison: Comparison, task: PublishedTask): string[] {
  const [seedId, bestId] = [partName(task, 'seed'), partName(task, 'best')]
  const seed = modelOf(comparison, seedId)
  const best = modelOf(comparison, bestId)
  const pair = pairOf(comparison, bestId, seedId)
  if (seed === undefined || best === undefined || pair === undefined) return []
  const gain = leadOf(pair)
  const means = 'The same network, trained with shifts, flips, dropout, AdamW and a falling learning rate,'
  if (!isSignificant(pair))
    return [
      `${means} reaches ${percent(best.test.accuracy)} instead of ${percent(seed.test.accuracy)}: no significant difference.`,
    ]
  return [
    gain > 0
      ? `${means} gains ${points(gain)}: the recipe, not the model size, was the limit.`
      : `${means} loses ${points(gain)} in this run.`,
  ]
}

function publishedText(comparison: Comparison, { source, testImages: publishedImages }: PublishedFigures): string[] {
  return networksOf(comparison).flatMap(({ name, test, testImages, interval, notebook: other, layers }) => {
    if (other === null) return []
    const gap = test.accuracy - other
    const where = `Here its features come from ${listed(layers)}`
    const compared = `${name} reaches ${percent(test.accuracy)}, in the ${source} ${percent(other)}`
    if (testImages !== publishedImages)
      return [
        `${name} reaches ${percent(test.accuracy)} on ${count(testImages)} images; the ${source}'s ${percent(other)} is on ${count(publishedImages)}, so the two cannot be compared. ${where}.`,
      ]
    if (other >= interval.low && other <= interval.high)
      return [`${compared}, which is inside the interval: the difference may be chance. ${where}.`]
    if (Math.abs(gap) < 0.0005) return [`${compared}: the same. ${where}.`]
    return [
      gap > 0
        ? `${compared}, ${points(gap)} less. ${where}, not from the network's last layers, which are specific to ImageNet's classes.`
        : `${compared}, ${points(gap)} more. ${where}.`,
    ]
  })
}

function rankingText(comparison: Comparison, { source }: PublishedFigures): string[] {
  const networks = networksOf(comparison).filter((model) => model.notebook !== null)
  if (networks.length < 2) return []
  const theirs = [...networks].sort((a, b) => (b.notebook ?? 0) - (a.notebook ?? 0))
  const ours = rankedOf(networks)
  const order = (models: readonly ComparedModel[]): string => models.map(({ name }) => name).join(', ')
  const isSame = order(theirs) === order(ours)
  const unsure = ours.slice(1).flatMap((second, i) => {
    const first = ours[i]
    const pair = first === undefined ? undefined : pairOf(comparison, first.id, second.id)
    return first === undefined || (pair !== undefined && pair.pValue < significance)
      ? []
      : [`${first.name} and ${second.name}`]
  })
  const doubt = unsure.length === 0 ? '' : ` There is no significant difference between ${listed(unsure)}.`
  return [
    isSame
      ? `The ${source}'s order of the pretrained networks, ${order(theirs)}, holds here too.${doubt}`
      : `The ${source}'s order of the pretrained networks, ${order(theirs)}, does not hold here: it is ${order(ours)}.${doubt}`,
  ]
}

/** Explains why a small network trained on the data can compete with large pretrained ones. */
function reasonText(comparison: Comparison, { source, testImages: publishedImages }: PublishedFigures): string[] {
  const [small] = rankedOf(comparison.models.filter(isOwnNetwork))
  const [large] = rankedOf(networksOf(comparison))
  if (small === undefined || large === undefined) return []
  const facts = [
    `${small.name} has ${count(small.parameters)} parameters, all trained on images of ${small.inputSize}x${small.inputSize} pixels. ${large.name} uses ${count(large.parameters)}, up to ${listed(large.layers)} and in its head; ${count(large.trainedParameters)} in the head were trained here. Its own were trained on colour photographs and have never seen such an image.`,
    `The images are enlarged to ${large.inputSize}x${large.inputSize} pixels in three equal channels, which adds no information, and what a deep network's last layers detect, such as breeds of dogs, is not in them. What transfers are its first layers: edges, textures, simple shapes.`,
  ]
  const pair = pairOf(comparison, large.id, small.id)
  if (pair === undefined) return facts
  const gap = leadOf(pair)
  const isClear = pair.pValue < significance
  const ends =
    large.notebook !== null && large.testImages === publishedImages && large.interval.low > large.notebook
      ? ` Taken from the right depth, features are enough; taken from the end, as in the ${source}, they were not.`
      : ''
  const outcome = !isClear
    ? `The difference of ${points(gap)} is not significant, although the small network has ${ratio(large, small)} of the parameters.`
    : gap > 0
      ? `${large.name}'s pretrained features beat ${small.name} by ${points(gap)}.${ends} The price is ${times(large, small)} as many parameters.`
      : `The small network leads by ${points(gap)}, with ${ratio(large, small)} of the parameters: training on the data is worth more than ${large.name}'s pretrained features.`
  const fewer =
    large.trainImages < 0.9 * small.trainImages
      ? [
          `The comparison disadvantages ${large.name}: its head was trained on ${count(large.trainImages)} images, ${small.name} on ${count(small.trainImages)}.`,
        ]
      : []
  return [...facts, outcome, ...fewer]
}

function times(large: ComparedModel, small: ComparedModel): string {
  const factor = large.parameters / small.parameters
  return `${factor < 10 ? decimal(factor, 1) : count(factor)} times`
}

function ratio(large: ComparedModel, small: ComparedModel): string {
  return percent(small.parameters / large.parameters, 1)
}

function crossvalText({ crossval }: CommentaryContext, { network, published }: PublishedTask): string[] {
  if (crossval === undefined) return []
  const { folds, honest, carried } = crossval
  const own = `In ${folds}-fold cross-validation, with a fresh model per fold, ${network.title} has ${percent(honest.mean)} ± ${percent(honest.standardDeviation)}.`
  if (carried === null) return [own]
  const gap = carried.mean - honest.mean
  const inflation =
    gap > 0
      ? `Reusing one model across folds inflates this to ${percent(carried.mean)}, ${points(gap)} more`
      : `Reusing one model across folds gives ${percent(carried.mean)}, no more in this run`
  return [
    `${own} ${inflation}, on the same images; on the unseen test images that model has ${percent(carried.test)}. This explains the ${published.source}'s ${percent(published.carryOver, 0)}, which cannot be compared with a test accuracy.`,
  ]
}

function limitsText({ models, pairs }: Comparison, { crossval }: CommentaryContext): string[] {
  const spread =
    crossval === undefined
      ? ''
      : ` Across folds (different images and seeds) the standard deviation was ${decimal(100 * crossval.honest.standardDeviation, 2)} points.`
  const meaningless = models.filter((model) => model.meaningless).map(({ name }) => name)
  const [{ testImages } = { testImages: 0 }] = models
  const isNarrowed = models.some((model) => model.ownTestImages > model.testImages)
  const isMixed =
    pairs.length < (models.length * (models.length - 1)) / 2 || pairs.some(({ images }) => images !== testImages)
  return [
    ...(isNarrowed
      ? [
          `All models are compared on the ${count(testImages)} test images that each of them was tested on; some were tested on more, and their own sections give the figures for all.`,
        ]
      : []),
    ...(isMixed
      ? [
          'No test image is common to all models: each pair is compared on the images that both were tested on, and the accuracies are on different images.',
        ]
      : []),
    ...(meaningless.length > 0
      ? [`${listed(meaningless)} had made-up weights: those figures mean nothing and are left out of every ranking.`]
      : []),
    ...(models.length > 0 ? [seedsText(models, spread)] : []),
  ]
}

/** What the seeds show, or that there was one only. */
function seedsText(models: readonly ComparedModel[], spread: string): string {
  const several = models.flatMap((model) => {
    const seeds = seedSpread(model)
    return seeds === undefined ? [] : [{ name: model.name, ...seeds }]
  })
  if (several.length === 0)
    return `Each model was trained once, with one seed: the intervals cover other test images, not other seeds.${spread}`
  const each = several.map(
    ({ name, accuracies, mean, standardDeviation }) =>
      `${name} ${percent(mean)} ± ${percent(standardDeviation)}, from ${percent(Math.min(...accuracies))} to ${percent(Math.max(...accuracies))} in ${accuracies.length} trainings`,
  )
  return `The first seed's models are compared above. Trained again with other seeds, on each model's own test images: ${each.join('; ')} (mean and standard deviation). A lead smaller than these deviations may be the seed's.`
}

function modelOf({ models }: Comparison, id: ComparedId): ComparedModel | undefined {
  return models.find((model) => model.id === id)
}

/** The pretrained networks with real weights. */
function networksOf({ models }: Comparison): ComparedModel[] {
  return models.filter((model) => !isOwnNetwork(model) && !model.meaningless)
}

/** Whether it is the task's own network, which needs no features. */
function isOwnNetwork({ layers }: ComparedModel): boolean {
  return layers.length === 0
}
