/**
 * `bench tune`: what tuning sees. Every candidate for the kernels of a LeNet-5 training step, and for the kernels of the
 * benchmark, measured as `tune` does, with no limit of time; which one wins, and which are wrong. Keeps nothing.
 */

import { WeftgradError } from '../src/errors.ts'
import type { Device } from '../src/gpu/device.ts'
import { open } from '../src/gpu/node/open.ts'
import type { KernelTask } from '../src/graph/choice.ts'
import { classKey } from '../src/graph/choice.ts'
import { targetOf } from '../src/graph/program.ts'
import type { CandidateResult } from '../src/graph/tuning.ts'
import { tune } from '../src/graph/tuning.ts'
import { kernelCases } from './cases.ts'
import { lenetStepTasks } from './lenet.ts'
import { short } from './report.ts'

/** Batch sizes of the steps whose kernels are shown. */
const lenetBatches = [128, 32]

interface NamedTask {
  readonly name: string
  readonly task: KernelTask
}

/** Shows the kernels whose name or shape class contains all of these words. Throws 'argument' where there are none. */
export async function benchTuning(filter: readonly string[], log: (line: string) => void): Promise<void> {
  const words = filter.flatMap((text) => text.toLowerCase().split(/\s+/))
  const device = await open()
  try {
    const isWanted = ({ name, task }: NamedTask): boolean =>
      words.every((word) => `${name} ${classKey(task)}`.toLowerCase().includes(word))
    const named = namedTasks(device).filter(isWanted)
    if (named.length === 0)
      throw new WeftgradError('argument', `No kernel with a choice of variants is called "${words.join(' ')}".`)
    log(device.describe())
    for (const { name, task } of named) {
      const { kernels } = await tune(device, [task], { budgetMs: Number.POSITIVE_INFINITY })
      log(`${name}: ${classKey(task)}`)
      for (const { chosen, candidates } of kernels)
        for (const candidate of candidates) log(candidateLine(candidate, task, chosen))
    }
  } finally {
    device.dispose()
  }
}

function namedTasks(device: Device): NamedTask[] {
  const target = targetOf(device)
  const steps = lenetBatches.flatMap((batch) =>
    lenetStepTasks(device, batch).map((task) => ({ name: `lenet step, batch ${batch}`, task })),
  )
  const cases = kernelCases.flatMap(({ name, task }) => {
    const own = task?.(target)
    return own === undefined ? [] : [{ name, task: own }]
  })
  return [...steps, ...cases].filter(({ task }) => task.candidates.length > 1)
}

function candidateLine({ variant, milliseconds, problem }: CandidateResult, task: KernelTask, chosen: string): string {
  const remarks = [
    variant === chosen ? 'wins' : undefined,
    variant === task.preferred ? 'preferred' : undefined,
    problem,
  ].filter((remark) => remark !== undefined)
  const time = milliseconds === undefined ? '-' : `${short(milliseconds)} ms`
  return `  ${variant.padEnd(16)}${time.padStart(12)}  ${remarks.join(', ')}`.trimEnd()
}
