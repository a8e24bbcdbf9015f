/** The result of transfer learning: `report.json`, and facts about the features. */
import { isRecord } from '../format/json.ts'
import type { EpochResult } from '../nn/contract.ts'
import type { ErrorAnalysis } from '../runs/error-analysis.ts'
import type { LossAndAccuracy, TestReport } from '../runs/test-report.ts'
import type { Head } from '../tasks/recipe.ts'

/** Facts about the features. */
export interface FeatureFacts {
  /** Number of images with features. */
  readonly count: number
  /** Number of images whose features were computed now. */
  readonly computed: number
  /** Wall-clock seconds, reading the cache included. */
  readonly seconds: number
  /** Seconds to compute all features, in this run and the earlier runs that filled the cache; null if unknown. */
  readonly computeSeconds: number | null
  /** Rate of computing, or of reading if nothing was computed. */
  readonly imagesPerSecond: number
  /** Whether nothing had to be computed. */
  readonly cached: boolean
  /** Numbers per image. */
  readonly width: number
  readonly folder: string
}

/** Stages. `head`: a head on frozen features; `fine-tuning`: the network's last layers with the head. */
export type Stage = 'head' | 'fine-tuning'

export interface StageLogs extends EpochResult {
  readonly stage: Stage
}

/** The content of `report.json`. */
export interface TransferReport extends TestReport {
  /** A pretrained network's name, or the path of a model's file. */
  readonly model: string
  readonly size: number
  readonly head: Head
  readonly features: FeatureFacts
  readonly history: readonly StageLogs[]
  readonly runDir: string
  /** The driver's name. */
  readonly adapter: string
  readonly hardware: boolean
  /** The source of the network's weights. */
  readonly weights: string
  /** True for made-up weights: the results say nothing about the network. */
  readonly meaningless: boolean
  readonly layers: readonly string[]
  readonly pool: string
  /** Fine-tuning, if the network's last layers were trained too. */
  readonly fineTuning?: {
    /** The first layer that was trained. */
    readonly from: string
    readonly layers: readonly string[]
    readonly features: FeatureFacts
    /** False if validation was no better than with the head alone, whose weights are then kept. */
    readonly kept: boolean
  }
  /** Number of parameters of the kept model. */
  readonly parameters: number
  readonly epochs: number
  readonly batchSize: number
  /** Median seconds of an epoch, validation included. */
  readonly secondsPerEpoch: number
  /** Number of training, validation and test images. */
  readonly images: { readonly train: number; readonly validation: number; readonly test: number }
  /** Validation of the kept weights. */
  readonly validation: LossAndAccuracy
  /** The epoch whose weights were kept, counted over both stages. */
  readonly bestEpoch: number
  /** Errors on the test images, identified by their position in predictions.csv; early runs lack them. */
  readonly errors?: ErrorAnalysis
}

/** Whether a report.json is a transfer run's: the printed fields exist. */
export function isTransferReport(value: unknown): value is TransferReport {
  return (
    isRecord(value) &&
    typeof value.model === 'string' &&
    [value.features, value.test, value.images, value.validation].every(isRecord) &&
    [value.history, value.layers, value.perClass, value.confusion].every(Array.isArray)
  )
}
