/** The result of transfer learning: `report.json`, and facts about the features. */
import { isRecord } from '../format/json.ts'
import type { EpochLogs } from '../nn/contract.ts'
import type { PretrainedName } from '../nn/models/pretrained.ts'
import type { LossAndAccuracy, TestReport } from '../runs/test-report.ts'
import type { Head } from '../tasks/recipe.ts'

/** Facts about the features. */
export interface FeatureFacts {
  /** Images that there are features of now. */
  readonly count: number
  /** Those that had to be computed. */
  readonly computed: number
  /** Wall clock, reading the cache included. */
  readonly seconds: number
  /** What computing all of them took, in this run and in those that the cache is from; null where it does not say. */
  readonly computeSeconds: number | null
  /** Of those computed, or of those read where none was computed. */
  readonly imagesPerSecond: number
  /** Whether nothing had to be computed. */
  readonly cached: boolean
  /** Numbers per image. */
  readonly width: number
  readonly folder: string
}

/** `head`: on frozen features; `fine-tuning`: the network's end with it. */
export type Stage = 'head' | 'fine-tuning'

export interface StageLogs extends EpochLogs {
  readonly stage: Stage
}

/** What `report.json` holds. */
export interface TransferReport extends TestReport {
  readonly model: PretrainedName
  readonly size: number
  readonly head: Head
  readonly features: FeatureFacts
  readonly history: readonly StageLogs[]
  readonly runDir: string
  /** The driver, for people. */
  readonly adapter: string
  readonly hardware: boolean
  /** Where the network's weights are from. */
  readonly weights: string
  /** True for made-up weights: no figure of this report says anything about the network. */
  readonly meaningless: boolean
  readonly layers: readonly string[]
  readonly pool: string
  /** Where the network's end was trained, too. */
  readonly fineTuning?: {
    /** The first layer that was trained. */
    readonly from: string
    readonly layers: readonly string[]
    readonly features: FeatureFacts
    /** False where validation images found nothing better than the head alone: then those weights are kept. */
    readonly kept: boolean
  }
  /** Of the model that was kept. */
  readonly parameters: number
  readonly epochs: number
  readonly batchSize: number
  /** Median over all epochs, validation included. */
  readonly secondsPerEpoch: number
  /** Images that the weights were trained on, those that decided, and those of the test. */
  readonly images: { readonly train: number; readonly validation: number; readonly test: number }
  /** Of the weights that were kept. */
  readonly validation: LossAndAccuracy
  /** The epoch whose weights were kept, counted over both stages. */
  readonly bestEpoch: number
}

/** Whether a report.json is one: what is printed of it is there. */
export function isTransferReport(value: unknown): value is TransferReport {
  return (
    isRecord(value) &&
    typeof value.model === 'string' &&
    [value.features, value.test, value.images, value.validation].every(isRecord) &&
    [value.history, value.layers, value.perClass, value.confusion].every(Array.isArray)
  )
}
