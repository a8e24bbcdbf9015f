/**
 * The result of a study: `report.json`, and all that its page shows. Plain JSON, without paths of the computer it ran
 * on.
 */
import type { CrossValidationResult } from '../crossval/result.ts'
import type { EdaResult } from '../explore/explore.ts'
import type { PretrainedName } from '../nn/models/pretrained.ts'
import type { LossAndAccuracy, TestPicture } from '../runs/test-report.ts'
import type { Versions } from '../runs/versions.ts'
import type { SearchResult } from '../search/result.ts'
import type { RecipeName } from '../tasks/recipe.ts'
import type { PublishedTask } from '../tasks/task.ts'
import type { TrainReport } from '../train/result.ts'
import type { TransferReport } from '../transfer/result.ts'
import type { Comparison } from './comparison.ts'
import { type OwnPart, partName, type StudyPart, studyParts } from './parts.ts'

export interface StudyPlan {
  /** Whether it only shows that everything works, with numbers not to be quoted. */
  readonly quick: boolean
  readonly skip: readonly StudyPart[]
  readonly seed: number
  /** How many times each model is trained: with `seed`, `seed + 1` and so on. The first training is the one compared. */
  readonly seeds: number
  /** Limit of training images of the task's network, and of test images; null means all. */
  readonly limit: number | null
  readonly tune: { readonly maxEpochs: number; readonly factor: number }
  readonly crossval: { readonly folds: number; readonly epochs: number }
  /** Epochs of the task's network by recipe. */
  readonly train: Readonly<Record<RecipeName, number>>
  readonly transfer: {
    /** Pretrained networks to run; the others are left out. */
    readonly networks: readonly PretrainedName[]
    /** Epochs of every head; null means as many as the task's settings for its network say. */
    readonly epochs: number | null
    readonly limitTrain: number | null
    readonly limitTest: number | null
    /** Weights, as for `transfer --weights`. */
    readonly weights: string | null
  }
}

/** The test of one more training of a model, which differs in its seed only. */
export interface SeedRepeat {
  readonly seed: number
  readonly test: LossAndAccuracy
  /** Seconds of training. */
  readonly seconds: number
}

/** The task's network, trained by a recipe. */
export interface TrainedFinal {
  readonly recipe: RecipeName
  readonly report: TrainReport
  readonly units: readonly number[]
  readonly learningRate: number
  /** Number of training images. */
  readonly trainImages: number
  /** The images that the report's `errors` identify by position. */
  readonly pictures: readonly TestPicture[]
  /** Trainings with other seeds; early studies lack them. */
  readonly repeats?: readonly SeedRepeat[]
}

export interface TransferFinal {
  readonly report: TransferReport
  /** Number of trained parameters of the head. */
  readonly trainedParameters: number
  /** As for {@link TrainedFinal}; early studies lack them. */
  readonly pictures?: readonly TestPicture[]
  readonly repeats?: readonly SeedRepeat[]
}

export interface StudyResults {
  readonly eda: EdaResult
  readonly tune: SearchResult
  readonly crossval: CrossValidationResult
  readonly seed: TrainedFinal
  readonly best: TrainedFinal
  readonly vgg16: TransferFinal
  readonly xception: TransferFinal
  readonly resnet152v2: TransferFinal
}

export interface PartDone<Result> {
  readonly state: 'done'
  /** Time of completion in ISO 8601. */
  readonly finishedAt: string
  /** Wall-clock seconds of the process that finished it. */
  readonly seconds: number
  /** Whether it was resumed; `seconds` leaves out the time of earlier processes. */
  readonly resumed: boolean
  readonly result: Result
}

export interface PartSkipped {
  readonly state: 'skipped'
  /** The reason, as a sentence. */
  readonly reason: string
}

export type PartOutcome<Result> = PartDone<Result> | PartSkipped

/** The outcomes of a study's parts; of the pretrained networks, those of its task. */
export type StudyOutcomes = { readonly [Part in OwnPart]: PartOutcome<StudyResults[Part]> } & {
  readonly [Part in PretrainedName]?: PartOutcome<StudyResults[Part]>
}

export interface StudyReport {
  /** Start time in ISO 8601. */
  readonly startedAt: string
  /** Completion time of the last part. */
  readonly finishedAt: string
  readonly plan: StudyPlan
  readonly data: { readonly published: boolean; readonly train: number; readonly test: number }
  readonly adapter: { readonly driver: string; readonly name: string; readonly hardware: boolean }
  readonly versions: Versions
  readonly parts: StudyOutcomes
  /** The comparison; null if no model was trained. */
  readonly comparison: Comparison | null
  /** Sentences made from the figures. */
  readonly commentary: readonly string[]
}

/** A part's result; undefined if it was left out. */
export function resultOf<Part extends StudyPart>(
  parts: { readonly [P in StudyPart]?: PartOutcome<StudyResults[P]> },
  part: Part,
): StudyResults[Part] | undefined {
  const outcome: PartOutcome<StudyResults[Part]> | undefined = parts[part]
  return outcome?.state === 'done' ? outcome.result : undefined
}

/** The plan as written to files, with the parts' names in files. */
export function writtenPlan(
  { train, skip, ...plan }: StudyPlan,
  task: PublishedTask,
): Readonly<Record<string, unknown>> {
  return { ...plan, skip: skip.map((part) => partName(task, part)), [task.network.word]: train }
}

/** The report as written to report.json, with the parts' names in files. */
export function writtenReport(report: StudyReport, task: PublishedTask): Readonly<Record<string, unknown>> {
  const parts = studyParts(task).map((part) => [partName(task, part), report.parts[part]])
  return { ...report, plan: writtenPlan(report.plan, task), parts: Object.fromEntries(parts) }
}
