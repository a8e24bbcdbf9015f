/**
 * `bench tune`: shows tuning from the inside. Measures every candidate for the kernels of a LeNet-5 training step, and
 * for those of the benchmark, like `tune` but without a time limit. Shows which one wins, and which are wrong. Stores
 * nothing.
 */

import { WeftgradError } from '../src/errors.ts'
import type { Device } from '../src/gpu/device.ts'
import type { KernelTask } from '../src/graph/plan/choice.ts'
import { classKey } from '../src/graph/plan/choice.ts'
import type { CandidateResult } from '../src/graph/tuning/tuning.ts'
import { tune } from '../src/graph/tuning/tuning.ts'
import { openForCommand } from '../src/runs/device.node.ts'
import { lenetStepTasks } from './lenet.ts'
import { operatorCases } from './operators.ts'
import { short } from './report.ts'
import { trainingKernelCases } from './training-kernels.ts'

/** The batch sizes of the training steps. */
const lenetBatches = [128, 32]

interface NamedTask {
  readonly name: string
  readonly task: KernelTask
}

/**
 * Shows the kernels whose name contains all of these words; the name of a step's kernel includes family and shape
 * class. Throws 'argument' if there are none.
 */
export async function benchTuning(filter: readonly string[], log: (line: string) => void): Promise<void> {
  const words = filter.flatMap((text) => text.toLowerCase().split(/\s+/))
  const device = await openForCommand()
  try {
    const named = namedTasks(device, (text) => words.every((word) => text.toLowerCase().includes(word)))
    if (named.length === 0)
      throw new WeftgradError('argument', `No kernel with a choice of variants is called "${words.join(' ')}".`)
    log(device.describe())
    for (const { name, task } of named) {
      const { kernels, problem } = await tune(device, [task], { budgetMs: Number.POSITIVE_INFINITY })
      if (problem !== undefined) throw new WeftgradError('limit', `Nothing can be measured. ${problem}`)
      log(`${name}: ${classKey(task)}`)
      for (const { chosen, candidates } of kernels)
        for (const candidate of [...candidates, ...leftOut(task, candidates)])
          log(candidateLine(candidate, task, chosen))
    }
  } finally {
    device.dispose()
  }
}

function namedTasks(device: Device, isWanted: (text: string) => boolean): NamedTask[] {
  const steps = lenetBatches
    .flatMap((batch) => lenetStepTasks(device, batch).map((task) => ({ name: `lenet step, batch ${batch}`, task })))
    .filter(({ name, task }) => isWanted(`${name} ${classKey(task)}`))
  const cases = [...operatorCases, ...trainingKernelCases].flatMap(({ name, task }) =>
    task === undefined || !isWanted(name) ? [] : [{ name, task: task(device) }],
  )
  return [...steps, ...cases].filter(({ task }) => task.candidates.length > 1)
}

/** The candidates that tuning does not try: on a CPU those with barriers, and the plain variant of a large kernel. */
function leftOut({ candidates }: KernelTask, tried: readonly CandidateResult[]): CandidateResult[] {
  return candidates
    .filter((variant) => tried.every((one) => one.variant !== variant))
    .map((variant) => ({ variant, problem: 'not tried' }))
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
