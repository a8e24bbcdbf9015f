/** The executor that needs no server: units run in this process, on the job's own adapter and images. */
import type { VariantTable } from '../graph/plan/choice.ts'
import { trainingsAtATime } from '../runs/lanes.ts'
import type { Executor, JobGround, Remote } from './executor.node.ts'
import type { UnitKind } from './unit.ts'

/** The executor of a job's units: in this process, unless they run elsewhere. */
export function executorFor<Settings, Ground extends Disposable, Answer>(
  kind: UnitKind<Settings, Ground, Answer>,
  ground: Ground,
  job: JobGround,
  remote: Remote | undefined,
): Executor<Settings, Answer> {
  return remote?.executor(kind, job) ?? inProcess(kind, ground, job.kernels)
}

function inProcess<Settings, Ground extends Disposable, Answer>(
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
