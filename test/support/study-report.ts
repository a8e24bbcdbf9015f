/** A study's results with simple numbers: complete, and as small as the report allows. */

import { carryOverOf, explainCarryOver, type FoldResult, summarizeFolds } from '../../src/crossval/result.ts'
import { fashionMnistClasses } from '../../src/data/fashion-mnist.ts'
import type { Eda, EdaResult } from '../../src/explore/explore.ts'
import { encodePng } from '../../src/format/png.ts'
import type { EpochLogs } from '../../src/nn/contract.ts'
import { imageGrid, matrixPicture } from '../../src/plots/pictures.ts'
import { commentary } from '../../src/report/commentary.ts'
import { type ComparedId, compareModels, type MeasuredModel } from '../../src/report/comparison.ts'
import type { PartDone, StudyReport, TrainedFinal, TransferFinal } from '../../src/report/study-report.ts'
import type { ErrorAnalysis } from '../../src/runs/error-analysis.ts'
import { testAnalysis } from '../../src/runs/test-analysis.ts'
import type { TestPicture } from '../../src/runs/test-report.ts'
import type { SearchResult } from '../../src/search/result.ts'
import { searchDefaults } from '../../src/search/settings.ts'
import { fullPlan } from '../../src/study/plan.ts'
import { fashionMnistLenet5 as task } from '../../src/tasks/fashion-mnist-lenet5.node.ts'
import type { RecipeName } from '../../src/tasks/recipe.ts'

const classNames: readonly string[] = fashionMnistClasses
const classes = classNames.length
const adapter = 'a driver <b>&amp; "more"</b>'
const place = { adapter, hardware: false, runDir: 'run' }

const history = (epochs: number): EpochLogs[] =>
  Array.from({ length: epochs }, (_, i) => ({
    epoch: i + 1,
    loss: 1 / (i + 1),
    accuracy: 1 - 0.5 / (i + 1),
    validationLoss: 1.1 / (i + 1),
    validationAccuracy: 0.9 - 0.5 / (i + 2),
    learningRate: 1e-3,
    seconds: 2,
  }))

/** Test images with labels in turn; the first `wrong` of them are predicted as the next class. */
function tested(count: number, wrong: number) {
  const labels = Array.from({ length: count }, (_, i) => i % classes)
  const predicted = labels.map((label, i) => (i < wrong ? (label + 1) % classes : label))
  const probabilities = predicted.flatMap((one) => Array.from({ length: classes }, (_, k) => (k === one ? 0.91 : 0.01)))
  const confusion = Array.from({ length: classes }, (_, truth) =>
    Array.from({ length: classes }, (_, k) => labels.filter((one, i) => one === truth && predicted[i] === k).length),
  )
  const [loss, accuracy] = [0.3, 1 - wrong / count]
  const evaluation = { loss, accuracy, confusion, predictions: Uint32Array.from(predicted) }
  return {
    predictions: { indices: labels.map((_, i) => i), labels, predicted },
    report: testAnalysis(
      { ...evaluation, probabilities: Float32Array.from(probabilities) },
      { labels: Uint8Array.from(labels) },
      classNames,
    ),
  }
}

/** A black picture for each image that the analysis names. */
function picturesOf({ pairs, worst }: ErrorAnalysis): TestPicture[] {
  const named = [...pairs.flatMap(({ examples }) => examples), ...worst].map(({ position }) => position)
  const black = encodePng({ width: 28, height: 28, channels: 1, data: new Uint8Array(784) })
  const png = Buffer.from(black).toString('base64')
  return [...new Set(named)].map((position) => ({ position, index: position, png }))
}

export function measured(
  id: ComparedId,
  count: number,
  wrong: number,
  more: Partial<MeasuredModel> = {},
): MeasuredModel {
  const isSmall = id.startsWith('lenet')
  const { predictions, report } = tested(count, wrong)
  return {
    id,
    name: id,
    parameters: isSmall ? 116_838 : 15_000_000,
    trainedParameters: isSmall ? 116_838 : 400_000,
    multiplyAdds: isSmall ? 416_520 : 300_000_000,
    inputSize: isSmall ? 28 : 32,
    layers: isSmall ? [] : ['block2_pool', 'block3_pool'],
    meaningless: false,
    trainImages: 54_000,
    epochs: 10,
    seconds: 100,
    imagesPerSecond: 5400,
    otherSeeds: [],
    test: report.test,
    predictions,
    ...more,
  }
}

function eda(): Eda {
  const pixels = 28 * 28
  const pair = { a: { row: 1, column: 2 }, b: { row: 3, column: 4 }, r: -0.00001 }
  const set = {
    missing: [],
    classCounts: new Array(classes).fill(100),
    duplicateRows: 0,
    duplicateImages: 2,
    conflicts: 1,
  }
  const result: EdaResult = {
    source: { kind: 'idx', published: true },
    adapter: { driver: adapter, hardware: false },
    classNames,
    height: 28,
    width: 28,
    sets: [
      { name: 'train', rows: 1000, ...set },
      { name: 'test', rows: 1000, ...set },
    ],
    duplicates: { across: { rows: 1, conflicts: 0 }, groupCount: 3, groups: [] },
    classes: classNames.map((name) => ({
      name,
      count: 100,
      mean: new Array(pixels).fill(0),
      variance: new Array(pixels).fill(0),
    })),
    correlation: {
      set: 'train',
      rows: 1000,
      constant: [{ row: 0, column: 0 }],
      meanAbsolute: 0.2,
      strongestPositive: [pair],
      strongestNegative: [pair],
      weakest: [pair],
      seconds: 1.5,
    },
  }
  const grid = imageGrid(new Array(classes * 12).fill(undefined), { width: 28, height: 28, columns: 12 })
  return {
    result,
    pictures: { classes: encodePng(grid), correlation: encodePng(matrixPicture(new Float32Array(16), 4, [])) },
  }
}

function tuning(): SearchResult {
  const trials = [1, 2, 3, 4].map((id) => ({
    id,
    bracket: 1,
    hyperparameters: { units_1: id % 2 ? 128 : 256, units_2: 32, learning_rate: id === 4 ? 0.01 : 0.001 },
    seed: id,
    state: id < 3 ? ('finished' as const) : id === 3 ? ('stopped' as const) : ('failed' as const),
    round: 1,
    epochs: 3,
    score: id === 4 ? null : { accuracy: 0.9 - id / 100, loss: 0.3, epoch: 3 },
    history: history(3),
  }))
  const best = { ...trials[0], score: { accuracy: 0.89, loss: 0.3, epoch: 3 } } as SearchResult['best']
  return {
    model: 'lenet5',
    objective: 'validationAccuracy',
    settings: searchDefaults(task),
    space: { units_1: [128, 256], units_2: [32], learning_rate: [0.01, 0.001] },
    brackets: [{ bracket: 1, rounds: [{ size: 4, epochs: 3 }] }],
    trials: trials as unknown as SearchResult['trials'],
    best,
    bestInterval: { low: 0.88, high: 0.9 },
    images: { train: 5400, validation: 600, duplicates: 0 },
    epochs: 12,
    seconds: 24,
    ...place,
  }
}

function crossval() {
  const fold = (k: number, accuracy: number): FoldResult => ({
    fold: k,
    trainCount: 800,
    validationCount: 200,
    loss: 0.4,
    accuracy,
    history: history(4),
  })
  const honest = summarizeFolds([fold(1, 0.89), fold(2, 0.9), fold(3, 0.91)])
  const carryOver = carryOverOf(honest, [fold(1, 0.89), fold(2, 0.93), fold(3, 0.95)], {
    loss: 0.4,
    accuracy: 0.9,
    count: 1000,
  })
  return {
    model: 'lenet5',
    settings: { ...task.recipes.seed.train, folds: 3, carryOver: true, epochs: 4 },
    honest,
    carryOver,
    explanation: explainCarryOver(honest, carryOver, 4, task.published),
    images: { count: 1000, duplicates: 3 },
    parameters: 116_838,
    epochs: 20,
    seconds: 40,
    ...place,
  }
}

function lenet(recipe: RecipeName, wrong: number): TrainedFinal {
  const { report } = tested(1000, wrong)
  return {
    recipe,
    report: {
      ...report,
      ...place,
      parameters: 116_838,
      epochs: 5,
      batchSize: 32,
      secondsPerEpoch: 2,
      millisecondsPerStep: recipe === 'seed' ? 1.5 : null,
      dispatchesPerStep: 20,
      firstStepSeconds: null,
      validation: recipe === 'seed' ? { loss: 0.3, accuracy: 0.9 } : null,
      history: history(5),
      bestEpoch: 5,
      keptEpoch: 5,
      split: 'official',
    },
    units: [256, 32],
    learningRate: 1e-3,
    trainImages: 54_000,
    pictures: picturesOf(report.errors),
  }
}

function transfer(wrong: number): TransferFinal {
  const { report } = tested(1000, wrong)
  return {
    report: {
      ...report,
      ...place,
      model: 'vgg16',
      size: 32,
      head: 'mlp',
      features: {
        count: 70_000,
        computed: 0,
        seconds: 3,
        computeSeconds: null,
        imagesPerSecond: 9e5,
        cached: true,
        width: 1536,
        folder: 'vgg16-32',
      },
      history: history(6).map((logs) => ({ ...logs, stage: 'head' })),
      weights: 'vgg16.h5',
      meaningless: false,
      layers: ['block2_pool', 'block3_pool'],
      pool: 'avg2',
      parameters: 400_000,
      epochs: 6,
      batchSize: 128,
      secondsPerEpoch: 2,
      images: { train: 54_000, validation: 6000, test: 1000 },
      validation: { loss: 0.3, accuracy: 0.9 },
      bestEpoch: 5,
    },
    trainedParameters: 396_000,
    pictures: picturesOf(report.errors),
  }
}

export const hostile = `<script>alert(1)</script> & "quoted" ${'long_name_'.repeat(9)}`

/** The report of a study with every part except two networks, one of them missing for a reason that contains HTML. */
export function wholeStudy(): { readonly report: StudyReport; readonly pictures: Eda['pictures'] } {
  const { result, pictures } = eda()
  const folds = crossval()
  const comparison = compareModels(
    [measured('lenet-seed', 1000, 100), measured('lenet-best', 1000, 70), measured('vgg16', 1000, 60)],
    task,
  )
  const done = <Result>(result: Result, resumed = false): PartDone<Result> => ({
    state: 'done',
    finishedAt: '2025-01-01T12:00:00.000Z',
    seconds: 75,
    resumed,
    result,
  })
  const { carryOver, honest } = folds
  return {
    pictures,
    report: {
      startedAt: '2025-01-01T10:00:00.000Z',
      finishedAt: '2025-01-01T12:00:00.000Z',
      plan: { ...fullPlan(task), skip: ['resnet152v2'] },
      data: { published: true, train: 60_000, test: 10_000 },
      adapter: { driver: adapter, name: 'name', hardware: false },
      versions: { weftgrad: '1.2.3', webgpu: '0.6.2', node: 'v20', platform: 'linux-x64' },
      parts: {
        eda: done(result),
        tune: done(tuning(), true),
        crossval: done(folds),
        seed: done(lenet('seed', 100)),
        best: done(lenet('best', 70)),
        vgg16: done(transfer(60)),
        xception: { state: 'skipped', reason: hostile },
        resnet152v2: { state: 'skipped', reason: 'It was skipped on request (--skip).' },
      },
      comparison,
      commentary: commentary(comparison, task, {
        quick: false,
        crossval: {
          folds: 3,
          honest: honest.accuracy,
          carried: { mean: carryOver.accuracy.mean, test: carryOver.test.accuracy },
        },
      }),
    },
  }
}

/** The report of a study that left everything out. */
export function emptyStudy(): StudyReport {
  const { report } = wholeStudy()
  const skipped = { state: 'skipped', reason: 'It was skipped on request (--skip).' } as const
  const parts = Object.fromEntries(Object.keys(report.parts).map((part) => [part, skipped]))
  return { ...report, parts: parts as unknown as StudyReport['parts'], comparison: null, commentary: [] }
}
