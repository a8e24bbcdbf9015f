/** What a study came to: `report.json`, and all that its page shows. Plain JSON, without paths of the computer it ran on. */
import type { Comparison } from './comparison.ts'
import type { CrossValidationResult } from './crossval.ts'
import type { EdaResult } from './eda.ts'
import type { RecipeName } from './recipes.ts'
import type { SearchResult } from './search-run.node.ts'
import type { StudyPart, StudyPlan } from './study-plan.ts'
import type { TrainReport } from './train-report.node.ts'
import type { TransferReport } from './transfer.node.ts'
import type { Versions } from './versions.node.ts'

export interface LenetFinal {
  readonly recipe: RecipeName
  readonly report: TrainReport
  readonly units: readonly [number, number]
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
  readonly 'lenet-seed': LenetFinal
  readonly 'lenet-best': LenetFinal
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
