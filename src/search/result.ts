/** The result of a hyperparameter search: `report.json`, also used by plots and reports. */
import { isRecord } from '../format/json.ts'
import type { Interval } from '../statistics.ts'
import type { Dimensions } from '../tasks/space.ts'
import type { Bracket } from './hyperband.ts'
import type { TrialResult, TrialScore } from './search.ts'
import type { SearchSettings } from './settings.ts'

export interface SearchResult {
  /** The name of the task's network. */
  readonly model: string
  /** The objective; higher is better. */
  readonly objective: 'validationAccuracy'
  readonly settings: SearchSettings
  readonly space: Dimensions
  readonly brackets: readonly Bracket[]
  /** Trials by id; those of a later bracket follow those of an earlier one. */
  readonly trials: readonly TrialResult[]
  /** The winner: round and epochs are the last it was trained to; `score.epoch` is its best one. */
  readonly best: TrialResult & { readonly score: TrialScore }
  /**
   * 95 % confidence interval (Wilson) of its accuracy. As the best of many trials it is still too high: only the test
   * set gives a fair score.
   */
  readonly bestInterval: Interval
  readonly images: { readonly train: number; readonly validation: number; readonly duplicates: number }
  /** Total epochs trained. */
  readonly epochs: number
  /** Wall-clock seconds of training. */
  readonly seconds: number
  /** The driver's name. */
  readonly adapter: string
  readonly hardware: boolean
  readonly runDir: string
}

/** Whether a report.json is a search's: the printed fields exist. */
export function isSearchResult(value: unknown): value is SearchResult {
  return isRecord(value) && isRecord(value.best) && Array.isArray(value.trials) && Array.isArray(value.brackets)
}
