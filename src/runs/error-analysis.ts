/**
 * Analyses a classifier's errors: the confusion matrix, the most confused pairs of classes, and the worst errors. The
 * result is plain JSON; images are identified by their position among the tested ones.
 */
import { WeftgradError } from '../errors.ts'

export interface Classified {
  readonly labels: ArrayLike<number>
  /** The predicted class of each image. */
  readonly predictions: ArrayLike<number>
  /** Probabilities [images, classes], row-major. */
  readonly probabilities: ArrayLike<number>
  readonly classes: number
  /** The images' names, if they have any. */
  readonly names?: readonly string[] | undefined
}

export interface ErrorAnalysisOptions {
  /** Maximum number of pairs of classes. 5 by default. */
  readonly pairs?: number
  /** Maximum number of images per pair. 6 by default. */
  readonly examples?: number
  /** Maximum number of worst errors. 12 by default. */
  readonly worst?: number
  /** Number of classes listed for an error, the likeliest first. 3 by default. */
  readonly top?: number
}

export interface ClassProbability {
  readonly class: number
  readonly probability: number
}

export interface ClassificationError {
  /** Position among the tested images. */
  readonly position: number
  /** The image's name, if it has one. */
  readonly name?: string
  readonly label: number
  readonly predicted: number
  /** The probability of the true class. */
  readonly labelProbability: number
  /** The likeliest classes in decreasing order. */
  readonly top: readonly ClassProbability[]
}

export interface ConfusedPair {
  /** The two classes, the smaller number first. */
  readonly classes: readonly [number, number]
  /** Number of errors in both directions. */
  readonly count: number
  /** Images of the first class predicted as the second. */
  readonly firstAsSecond: number
  readonly secondAsFirst: number
  /** The errors that the model was most confident about. */
  readonly examples: readonly ClassificationError[]
}

export interface ErrorAnalysis {
  readonly images: number
  readonly errors: number
  /** Rows are the true classes, columns the predicted ones. */
  readonly confusion: readonly (readonly number[])[]
  /** Pairs with errors, in decreasing order of their number. */
  readonly pairs: readonly ConfusedPair[]
  /** The worst errors: the true class's probability increases, so the loss decreases. */
  readonly worst: readonly ClassificationError[]
}

/**
 * Analyses the errors. Pairs with equal counts are ordered by class, equal errors by image.
 * @throws WeftgradError 'argument' for lists of different lengths, unknown classes and probabilities outside [0, 1].
 */
export function analyseErrors(classified: Classified, options: ErrorAnalysisOptions = {}): ErrorAnalysis {
  refuseMisfits(classified)
  const { labels, predictions, classes } = classified
  const { pairs = 5, examples = 6, worst = 12, top = 3 } = options
  const confusion = Array.from({ length: classes }, () => new Array<number>(classes).fill(0))
  const wrong: number[] = []
  for (let i = 0; i < labels.length; i++) {
    const [label = 0, predicted = 0] = [labels[i], predictions[i]]
    const row = confusion[label]
    if (row !== undefined) row[predicted] = (row[predicted] ?? 0) + 1
    if (label !== predicted) wrong.push(i)
  }
  const worstFirst = wrong
    .map((position) => errorAt(classified, position, top))
    .sort((a, b) => a.labelProbability - b.labelProbability || a.position - b.position)
  return {
    images: labels.length,
    errors: wrong.length,
    confusion,
    pairs: confusedPairs(confusion)
      .slice(0, pairs)
      .map((pair) => ({ ...pair, examples: examplesOf(pair, worstFirst, classified).slice(0, examples) })),
    worst: worstFirst.slice(0, worst),
  }
}

function confusedPairs(confusion: readonly (readonly number[])[]): Omit<ConfusedPair, 'examples'>[] {
  return confusion
    .flatMap((row, first) =>
      row.slice(first + 1).map((firstAsSecond, k) => {
        const second = first + 1 + k
        const secondAsFirst = confusion[second]?.[first] ?? 0
        return { classes: [first, second] as const, count: firstAsSecond + secondAsFirst, firstAsSecond, secondAsFirst }
      }),
    )
    .filter(({ count }) => count > 0)
    .sort((a, b) => b.count - a.count)
}

/** The pair's errors, the highest probability of the wrong class first. */
function examplesOf(
  { classes: [first, second] }: Pick<ConfusedPair, 'classes'>,
  errors: readonly ClassificationError[],
  { probabilities, classes }: Classified,
): ClassificationError[] {
  const sureness = ({ position, predicted }: ClassificationError): number =>
    probabilities[position * classes + predicted] ?? 0
  return errors
    .filter(({ label, predicted }) => Math.min(label, predicted) === first && Math.max(label, predicted) === second)
    .sort((a, b) => sureness(b) - sureness(a) || a.position - b.position)
}

function errorAt({ labels, predictions, probabilities, classes, names }: Classified, position: number, top: number) {
  const [label = 0, predicted = 0] = [labels[position], predictions[position]]
  const own = Array.from({ length: classes }, (_, k) => ({
    class: k,
    probability: probabilities[position * classes + k] ?? 0,
  }))
  const labelProbability = own[label]?.probability ?? 0
  const likeliest = own.sort((a, b) => b.probability - a.probability).slice(0, top)
  const name = names?.[position]
  return { position, ...(name === undefined ? {} : { name }), label, predicted, labelProbability, top: likeliest }
}

function refuseMisfits({ labels, predictions, probabilities, classes }: Classified): void {
  const count = labels.length
  if (predictions.length !== count || probabilities.length !== count * classes)
    throw new WeftgradError(
      'argument',
      `${count} labels, ${predictions.length} predictions and ${probabilities.length} probabilities of ${classes} classes do not belong to the same images.`,
    )
  for (const [what, list] of [
    ['label', labels],
    ['prediction', predictions],
  ] as const)
    for (let i = 0; i < count; i++) {
      const one = list[i] ?? Number.NaN
      if (!Number.isInteger(one) || one < 0 || one >= classes)
        throw new WeftgradError('argument', `Image ${i} has the ${what} ${one}, but there are ${classes} classes.`)
    }
  for (let i = 0; i < probabilities.length; i++) {
    const one = probabilities[i] ?? Number.NaN
    // A softmax may round slightly above 1.
    if (!(one >= 0 && one <= 1.00001))
      throw new WeftgradError('argument', `Image ${Math.floor(i / classes)} has the class probability ${one}.`)
  }
}
