/**
 * What a study came to: `report.json`, and all that its page shows. Plain JSON, without paths of the computer it ran on.
 */
import type { CrossValidationResult } from '../crossval/result.ts'
import type { EdaResult } from '../explore/explore.ts'
import type { PretrainedName } from '../nn/models/pretrained.ts'
import type { Versions } from '../runs/versions.ts'
import type { SearchResult } from '../search/result.ts'
import type { RecipeName } from '../tasks/recipe.ts'
import type { Task } from '../tasks/task.ts'
import type { TrainReport } from '../train/result.ts'
import type { TransferReport } from '../transfer/result.ts'
import type { Comparison } from './comparison.ts'
import { partName, type StudyPart, studyParts } from './parts.ts'

export interface StudyPlan {
  /** Its figures show that everything works, and are not to be quoted. */
  readonly quick: boolean
  readonly skip: readonly StudyPart[]
  readonly seed: number
  /** Images that the task's network is trained on, and at most as many to test; null: all. */
  readonly limit: number | null
  readonly tune: { readonly maxEpochs: number; readonly factor: number }
  readonly crossval: { readonly folds: number; readonly epochs: number }
  /** Epochs of the task's network, by recipe. */
  readonly train: Readonly<Record<RecipeName, number>>
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

/** The task's network, trained by a recipe. */
export interface TrainedFinal {
  readonly recipe: RecipeName
  readonly report: TrainReport
  readonly units: readonly number[]
  readonly learningRate: number
  /** Images that the weights were trained on. */
  readonly trainImages: number
  /** The images that the report's `errors` name by their position. */
  readonly pictures: readonly TestPicture[]
}

export interface TestPicture {
  /** Among the images tested. */
  readonly position: number
  /** In the test file. */
  readonly index: number
  /** PNG, base64. */
  readonly png: string
}

export interface TransferFinal {
  readonly report: TransferReport
  /** Those of the head that an optimizer updated. */
  readonly trainedParameters: number
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
  /** When it was; ISO 8601. */
  readonly finishedAt: string
  /** Wall clock of the process that finished it. */
  readonly seconds: number
  /** Whether an earlier process had begun it, whose time `seconds` leaves out. */
  readonly resumed: boolean
  readonly result: Result
}

export interface PartSkipped {
  readonly state: 'skipped'
  /** A sentence. */
  readonly reason: string
}

export type PartOutcome<Result> = PartDone<Result> | PartSkipped

export type StudyOutcomes = { readonly [Part in StudyPart]: PartOutcome<StudyResults[Part]> }

export interface StudyReport {
  /** ISO 8601. */
  readonly startedAt: string
  /** When the last part was done. */
  readonly finishedAt: string
  readonly plan: StudyPlan
  readonly data: { readonly published: boolean; readonly train: number; readonly test: number }
  readonly adapter: { readonly driver: string; readonly name: string; readonly hardware: boolean }
  readonly versions: Versions
  readonly parts: StudyOutcomes
  /** Null where no model was trained. */
  readonly comparison: Comparison | null
  /** Sentences made from the figures. */
  readonly commentary: readonly string[]
}

export function resultOf<Part extends StudyPart>(parts: StudyOutcomes, part: Part): StudyResults[Part] | undefined {
  const outcome: PartOutcome<StudyResults[Part]> = parts[part]
  return outcome.state === 'done' ? outcome.result : undefined
}

/** The plan as files have it: with the names that parts have there. */
export function writtenPlan({ train, skip, ...plan }: StudyPlan, task: Task): Readonly<Record<string, unknown>> {
  return { ...plan, skip: skip.map((part) => partName(task, part)), [task.network.word]: train }
}

/** The report as report.json has it: with the names that parts have in files. */
export function writtenReport(report: StudyReport, task: Task): Readonly<Record<string, unknown>> {
  const parts = studyParts.map((part) => [partName(task, part), report.parts[part]])
  return { ...report, plan: writtenPlan(report.plan, task), parts: Object.fromEntries(parts) }
}
