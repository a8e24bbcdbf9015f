/** What a search for hyperparameters came to: `report.json`, and what plots and reports show of it. */
import { isRecord } from '../format/json.ts'
import type { Interval } from '../statistics.ts'
import type { Dimensions } from '../tasks/space.ts'
import type { Bracket } from './hyperband.ts'
import type { TrialResult, TrialScore } from './search.ts'
import type { SearchSettings } from './settings.ts'

export interface SearchResult {
  /** The task's network. */
  readonly model: string
  /** The higher, the better. */
  readonly objective: 'validationAccuracy'
  readonly settings: SearchSettings
  readonly space: Dimensions
  readonly brackets: readonly Bracket[]
  /** In the order of their ids, those of a later bracket after those of an earlier one. */
  readonly trials: readonly TrialResult[]
  /** The winner: its round and epochs are those it was trained to, and `score.epoch` is its best one. */
  readonly best: TrialResult & { readonly score: TrialScore }
  /** 95 % of its accuracy, by Wilson. Being the best of many it flatters even so: the test set has the last word. */
  readonly bestInterval: Interval
  readonly images: { readonly train: number; readonly validation: number; readonly duplicates: number }
  /** Epochs trained in all. */
  readonly epochs: number
  /** Wall clock that they took. */
  readonly seconds: number
  /** The driver, for people. */
  readonly adapter: string
  readonly hardware: boolean
  readonly runDir: string
}

/** Whether a report.json is one: what is printed of it is there. */
export function isSearchResult(value: unknown): value is SearchResult {
  return isRecord(value) && isRecord(value.best) && Array.isArray(value.trials) && Array.isArray(value.brackets)
}
