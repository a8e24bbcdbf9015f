/** The interface of another library that is timed in turn with ours. */

import type { OpenCase } from './case.ts'
import type { Subject } from './measure.ts'
import type { RivalName } from './report.ts'

export interface RivalSide {
  readonly name: RivalName
  /** The library, its version where it is not pinned, and where it runs. */
  readonly title: string
  /** The same work as the open case's. Throws if the library cannot do it. Call it in `scoped`. */
  subjectFor(ours: OpenCase): Promise<Subject>
  /** Runs `use` and releases what it made on the library's side. */
  scoped<T>(use: () => Promise<T>): Promise<T>
  dispose(): void
}
