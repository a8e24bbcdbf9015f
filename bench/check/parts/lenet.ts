/** Times whole training steps of LeNet-5, with the adapter's preferred kernels and with tuned ones. */

import type { VariantTable } from '../../../src/graph/plan/choice.ts'
import { tune } from '../../../src/graph/tuning/tuning.ts'
import type { OpenCase } from '../../case.ts'
import { lenetStepTasks, openLenetStep } from '../../lenet.ts'
import { rounded, short } from '../../report.ts'
import type { Part } from '../part.ts'
import type { Timing, VariantTimes } from '../workload.ts'
import { timedWithTuned, timeOf, variantTimes } from '../workload.ts'

const batches = [32, 128, 512]

interface LenetRow {
  readonly batch: number
  readonly dispatches: string
  /** ms from building a step to the end of its first run, which includes compiling. */
  readonly firstMilliseconds: number
  readonly preferred: Timing
  readonly tuned?: Timing
  /** GFLOP/s of the faster of the two. */
  readonly gflops: number
  readonly kernels: readonly VariantTimes[]
}

export interface LenetFigures {
  readonly steps: readonly LenetRow[]
}

export const lenetPart: Part<LenetFigures> = {
  name: 'lenet',
  title: 'LeNet-5 training steps',
  seconds: 40,
  async run(work) {
    const steps: LenetRow[] = []
    for (const batch of batches) {
      await work.attempt(`batch ${batch}`, 2, async (device) => {
        const opened: OpenCase[] = []
        try {
          const begun = performance.now()
          const preferred = await openLenetStep(device, batch)
          opened.push(preferred)
          await preferred.run(1)
          const firstMilliseconds = performance.now() - begun
          const budgetMs = Math.max(1000, Math.min(6000, work.remaining / 4))
          const { kernels } = await tune(device, lenetStepTasks(device, batch), { budgetMs })
          const openTuned = (variants: VariantTable) => openLenetStep(device, batch, variants)
          const [first, tuned] = await timedWithTuned(work, `batch ${batch}`, kernels, opened, openTuned)
          const fastest = Math.min(timeOf(first), timeOf(tuned ?? first))
          steps.push({
            batch,
            dispatches: preferred.variant,
            firstMilliseconds: rounded(firstMilliseconds),
            preferred: first,
            ...(tuned === undefined ? {} : { tuned }),
            gflops: rounded(preferred.flops / fastest / 1e6),
            kernels: kernels.map(variantTimes),
          })
          work.report({ steps: [...steps] })
          for (const one of opened) await one.verify()
        } finally {
          for (const one of opened) one.dispose()
        }
      })
    }
  },
  page({ steps }, pytorch) {
    const ways = pytorch === undefined ? [] : [...new Set(Object.values(pytorch.lenet).flatMap(Object.keys))]
    const wall = (timing?: Timing): string => (timing === undefined ? '' : short(timing.milliseconds))
    const device = (timing?: Timing): string =>
      timing?.deviceMilliseconds === undefined ? '' : short(timing.deviceMilliseconds)
    return [
      'Milliseconds: median by the wall clock, and by the device\'s own clock. "First" includes compiling.',
      '',
      `| batch | first | preferred | device | tuned | device | GFLOP/s |${ways.map((way) => ` PyTorch ${way} |`).join('')}`,
      `|---:|---:|---:|---:|---:|---:|---:|${ways.map(() => '---:|').join('')}`,
      ...steps.map(({ batch, firstMilliseconds, preferred, tuned, gflops }) => {
        const theirs = ways.map((way) => {
          const milliseconds = pytorch?.lenet[batch]?.[way]
          return milliseconds === undefined ? '' : short(milliseconds)
        })
        const own = [wall(preferred), device(preferred), wall(tuned), device(tuned), short(gflops)]
        return `| ${[batch, short(firstMilliseconds), ...own, ...theirs].join(' | ')} |`
      }),
    ]
  },
}
