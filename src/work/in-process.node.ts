/** The executor that needs no server: units run in this process, on the job's own adapter and images. */
import type { VariantTable } from '../graph/plan/choice.ts'
import { trainingsAtATime } from '../runs/lanes.ts'
import type { Executor } from './executor.node.ts'
import type { UnitKind } from './unit.ts'

/** Runs units in this process. */
export function inProcess<Settings, Ground extends Disposable, Answer>(
  kind: UnitKind<Settings, Ground, Answer>,
  ground: Ground,
  kernels: VariantTable,
): Executor<Settings, Answer> {
  return {
    lanes: trainingsAtATime,
    run: ({ settings, folder, after }, signal, events = {}) =>
      kind.run(ground, settings, { folder, before: after?.folder, kernels, signal, events }),
    files: async () => new Map(),
  }
}
