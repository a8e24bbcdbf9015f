/**
 * The models of a study side by side, and what their figures say. Pure: predictions and figures in, a table and sentences
 * out. Every sentence is chosen by the figures it tells of, so that it stays true when they change.
 */
import { count, decimal, listed, percent, points, probability } from './report/numbers.ts'
import { disagreement, type Interval, type McNemarTest, mcnemarTest, wilsonInterval } from './statistics.ts'

/** What a published notebook came to on Fashion-MNIST, as accuracies in [0, 1]; its models are named as those here. */
export const notebook = {
  vgg16: 0.8839,
  resnet152v2: 0.8074,
  xception: 0.747,
  /** Of a cross-validation that carried one model through its folds. */
  carryOver: 0.94,
} as const

/** The published test images, which the notebook's accuracies are of. */
export const notebookImages = 10_000

/** Of test images, named by where they stand in the test file. */
export interface Predictions {
  readonly indices: readonly number[]
  readonly labels: readonly number[]
  readonly predicted: readonly number[]
}

/** Two of the models are LeNet-5; the others are frozen pretrained networks with a trained head. */
export type ComparedId = 'lenet-seed' | 'lenet-best' | 'vgg16' | 'xception' | 'resnet152v2'

interface ModelFigures {
  readonly id: ComparedId
  readonly name: string
  /** Of what runs: for a pretrained network its layers up to those that features come from, and the head. */
  readonly parameters: number
  readonly trainedParameters: number
  /** Height and width of the images that the model sees. */
  readonly inputSize: number
  /** The layers whose outputs are features; empty for LeNet-5. */
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
  /** What the others are tested against: the notebook's own LeNet-5, or the other one where that is missing. */
  readonly baseline: ComparedId | null
  /** Each pair of models, except those without common images. */
  readonly pairs: readonly ComparedPair[]
  /** The highest test accuracy of those whose weights mean something, and those that the test cannot tell from it. */
  readonly leaders: readonly ComparedId[]
}

/** How often chance may call equal models different. */
export const significance = 0.05

/** Throws WeftgradError 'argument' for a model without test images. */
export function compareModels(all: readonly MeasuredModel[]): Comparison {
  const measured = onCommonImages(all)
  const models = measured.map(({ predictions, ...figures }, i): ComparedModel => {
    const { labels, predicted } = predictions
    const right = labels.filter((label, k) => label === predicted[k]).length
    const known: Readonly<Record<string, number>> = notebook
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
  const baseline = (['lenet-seed', 'lenet-best'] as const).find((id) => models.some((model) => model.id === id)) ?? null
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
function leadOf({ onlyFirst, onlySecond, images }: ComparedPair): number {
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

/** Accuracies of new models for each fold, and of the one that was carried over. */
export interface CrossValidationFigures {
  readonly folds: number
  readonly honest: { readonly mean: number; readonly standardDeviation: number }
  readonly carried: { readonly mean: number; readonly test: number } | null
}

/** What the comparison does not hold itself. */
export interface CommentaryContext {
  readonly quick: boolean
  readonly crossval: CrossValidationFigures | undefined
}

/** What the figures say, in sentences. */
export function commentary(comparison: Comparison, context: CommentaryContext): string[] {
  return [
    ...quickText(context),
    ...winnerText(comparison),
    ...baselineText(comparison),
    ...recipeText(comparison),
    ...notebookText(comparison),
    ...rankingText(comparison),
    ...reasonText(comparison),
    ...crossvalText(context),
    ...limitsText(comparison, context),
  ]
}

function quickText({ quick }: CommentaryContext): string[] {
  return quick
    ? [
        'This was a quick study, on a part of the data and for a few epochs: it shows that everything works. Its figures are no result.',
      ]
    : []
}

function winnerText(comparison: Comparison): string[] {
  const [first, second] = rankedOf(comparison.models)
  if (first === undefined) return []
  const { interval, test, testImages } = first
  const best = `${first.name} has the highest test accuracy: ${percent(test.accuracy)} of ${count(testImages)} images, with a 95 % interval from ${percent(interval.low)} to ${percent(interval.high)}.`
  const level = comparison.leaders.length > 1 ? [levelText(comparison)] : []
  return second === undefined ? [best] : [...level, best, sureText(comparison, first, second)]
}

/** That there is no best model, where several lead. */
export function levelText({ models, leaders }: Comparison): string {
  const names = models.filter(({ id }) => leaders.includes(id)).map(({ name }) => name)
  return `No single model is best: these test images cannot tell ${listed(names)} apart.`
}

/** How sure it is that the first model is better than the second. */
export function sureText(comparison: Comparison, first: ComparedModel, second: ComparedModel): string {
  const pair = pairOf(comparison, first.id, second.id)
  if (pair === undefined)
    return `Next is ${second.name} with ${percent(second.test.accuracy)}; the two were tested on different images, so nothing tests their difference.`
  const { onlyFirst, onlySecond, images, pValue } = pair
  const counts = `of ${count(images)} images, only ${first.name} gets ${count(onlyFirst)} right, and only ${second.name} ${count(onlySecond)}`
  const next = `Next is ${second.name} with ${percent(second.test.accuracy)}`
  const test = `McNemar's test, p ${equals(pValue)}`
  return pValue < significance
    ? onlyFirst > onlySecond
      ? `${next}. The lead is more than these test images would give by chance: ${counts} (${test}).`
      : `${next}. On the images that both were tested on it is the other way round, and by more than chance: ${counts} (${test}).`
    : `${next}. These test images cannot tell which of the two is better: ${counts} (${test}).`
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
  const clauses = [
    ...clause(better, 'better'),
    ...clause(worse, 'worse'),
    ...clause(open, 'not to be told apart from it'),
  ]
  return [
    `Against ${nameOf(baseline)}, at 5 % over the ${against.length} tests together (McNemar, with Holm's correction): ${clauses.join('; ')}.`,
  ]
}

function recipeText(comparison: Comparison): string[] {
  const seed = modelOf(comparison, 'lenet-seed')
  const best = modelOf(comparison, 'lenet-best')
  const pair = pairOf(comparison, 'lenet-best', 'lenet-seed')
  if (seed === undefined || best === undefined || pair === undefined) return []
  const gain = leadOf(pair)
  const means =
    'The same five layers of the same sizes, trained with shifted and mirrored images, dropout, AdamW and a falling rate,'
  if (!isSignificant(pair))
    return [
      `${means} come to ${percent(best.test.accuracy)} instead of ${percent(seed.test.accuracy)}: a difference that these test images cannot tell from chance.`,
    ]
  return [
    gain > 0
      ? `${means} gain ${points(gain)}: it is the recipe, not the size, that held the small network back.`
      : `${means} lose ${points(gain)} in this run.`,
  ]
}

function notebookText(comparison: Comparison): string[] {
  return networksOf(comparison).flatMap(({ name, test, testImages, interval, notebook: other, layers }) => {
    if (other === null) return []
    const gap = test.accuracy - other
    const where = `Its features are taken here from ${listed(layers)}`
    const compared = `${name} comes to ${percent(test.accuracy)}, the notebook to ${percent(other)}`
    if (testImages !== notebookImages)
      return [
        `${name} comes to ${percent(test.accuracy)} of ${count(testImages)} images; the notebook's ${percent(other)} is of ${count(notebookImages)}, so their difference says nothing. ${where}.`,
      ]
    if (other >= interval.low && other <= interval.high)
      return [`${compared}, which lies within the interval: the difference may be chance. ${where}.`]
    if (Math.abs(gap) < 0.0005) return [`${compared}: the same. ${where}.`]
    return [
      gap > 0
        ? `${compared}, ${points(gap)} less. ${where}, not from the network's end, which was made to tell ImageNet's classes apart.`
        : `${compared}, ${points(gap)} more. ${where}.`,
    ]
  })
}

function rankingText(comparison: Comparison): string[] {
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
  const doubt = unsure.length === 0 ? '' : ` How ${listed(unsure)} stand to each other, these test images cannot tell.`
  return [
    isSame
      ? `The notebook's order of the pretrained networks, ${order(theirs)}, is the order here, too.${doubt}`
      : `The notebook's order of the pretrained networks, ${order(theirs)}, does not hold here: it is ${order(ours)}.${doubt}`,
  ]
}

/** Why a small network that learned from the data meets large ones that did not. */
function reasonText(comparison: Comparison): string[] {
  const [small] = rankedOf(comparison.models.filter(({ id }) => id.startsWith('lenet')))
  const [large] = rankedOf(networksOf(comparison))
  if (small === undefined || large === undefined) return []
  const facts = [
    `${small.name} has ${count(small.parameters)} parameters, and all of them were trained on grey images of ${small.inputSize}x${small.inputSize} pixels. ${large.name} has ${count(large.parameters)} in use, up to ${listed(large.layers)} and in its head; ${count(large.trainedParameters)} in the head were trained here, and the network's own have never seen such an image: they are filters for colour photographs.`,
    `To fit them, the images are enlarged to ${large.inputSize}x${large.inputSize} pixels in three equal channels, which adds no information; and what a deep network's last layers look for, such as breeds of dogs, is not in them. What carries over are its first layers: edges, textures, simple shapes.`,
  ]
  const pair = pairOf(comparison, large.id, small.id)
  if (pair === undefined) return facts
  const gap = leadOf(pair)
  const isClear = pair.pValue < significance
  const ends =
    large.notebook !== null && large.testImages === notebookImages && large.interval.low > large.notebook
      ? ' Taken from the right depth they are enough; taken from the end, as in the notebook, they were not.'
      : ''
  const outcome = !isClear
    ? `Here that comes to a draw: the difference of ${points(gap)} may be chance. These test images do not tell the two apart, although the small network has ${ratio(large, small)} of the parameters.`
    : gap > 0
      ? `Here what ${large.name} brings along is worth ${points(gap)} more than all that ${small.name} learns from the data.${ends} The price is ${times(large, small)} as many parameters.`
      : `Here the small network is ahead by ${points(gap)}, with ${ratio(large, small)} of the parameters: being trained on the data is worth more than what ${large.name} brings along.`
  const fewer =
    large.trainImages < 0.9 * small.trainImages
      ? [
          `The comparison is not quite fair to ${large.name}: its head was trained on ${count(large.trainImages)} images, ${small.name} on ${count(small.trainImages)}.`,
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

function crossvalText({ crossval }: CommentaryContext): string[] {
  if (crossval === undefined) return []
  const { folds, honest, carried } = crossval
  const own = `Cross-validated over ${folds} folds, with a new model for each, LeNet-5 has ${percent(honest.mean)} ± ${percent(honest.standardDeviation)}.`
  if (carried === null) return [own]
  const gap = carried.mean - honest.mean
  const inflation =
    gap > 0
      ? `One model carried through the folds seems to have ${percent(carried.mean)}, ${points(gap)} more`
      : `One model carried through the folds has ${percent(carried.mean)}, in this run no more`
  return [
    `${own} ${inflation}, on the same images; on the test images, which were in no fold, it has ${percent(carried.test)}. The notebook's ${percent(notebook.carryOver, 0)} came about that way, and cannot be compared with a test accuracy.`,
  ]
}

function limitsText({ models, pairs }: Comparison, { crossval }: CommentaryContext): string[] {
  const spread =
    crossval === undefined
      ? ''
      : ` Over the folds, other images and other seeds made a standard deviation of ${percent(crossval.honest.standardDeviation)}.`
  const meaningless = models.filter((model) => model.meaningless).map(({ name }) => name)
  const [{ testImages } = { testImages: 0 }] = models
  const isNarrowed = models.some((model) => model.ownTestImages > model.testImages)
  const isMixed =
    pairs.length < (models.length * (models.length - 1)) / 2 || pairs.some(({ images }) => images !== testImages)
  return [
    ...(isNarrowed
      ? [
          `All models are compared on the ${count(testImages)} test images that every one of them was tested on; some were tested on more, and their own sections tell of all of them.`,
        ]
      : []),
    ...(isMixed
      ? [
          'No test image is common to all models: a pair is tested on those that both have seen, and their accuracies are of different images.',
        ]
      : []),
    ...(meaningless.length > 0
      ? [`${listed(meaningless)} had made-up weights: those figures mean nothing and take part in no ranking.`]
      : []),
    ...(models.length > 0
      ? [
          `Each model was trained once, from one seed: the intervals say what other test images would change, not what another seed would.${spread}`,
        ]
      : []),
  ]
}

function modelOf({ models }: Comparison, id: ComparedId): ComparedModel | undefined {
  return models.find((model) => model.id === id)
}

/** The pretrained ones whose weights mean something. */
function networksOf({ models }: Comparison): ComparedModel[] {
  return models.filter(({ id, meaningless }) => !id.startsWith('lenet') && !meaningless)
}
