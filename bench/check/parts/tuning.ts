/** Tunes LeNet-5's steps twice. Choices that differ are noise, or ties. */

import { classKey } from '../../../src/graph/plan/choice.ts'
import { tune } from '../../../src/graph/tuning/tuning.ts'
import { lenetStepTasks } from '../../lenet.ts'
import { rounded } from '../../report.ts'
import type { Part } from '../part.ts'
import type { VariantTimes } from '../workload.ts'
import { variantTimes, wrongVariants } from '../workload.ts'

interface Tuning {
  readonly batch: number
  readonly seconds: number
  readonly kernels: readonly VariantTimes[]
}

export interface TuningFigures {
  /** Two for each batch size, each from scratch. */
  readonly tunings: readonly Tuning[]
  /** Kernels for which both tunings of a batch size chose the same variant, out of all that were tuned twice. */
  readonly agreeing: number
  readonly compared: number
}

export const tuningPart: Part<TuningFigures> = {
  name: 'tuning',
  title: 'Tuning',
  seconds: 20,
  async run(work) {
    const batches = work.options.quick ? [128] : [32, 128]
    const tunings: Tuning[] = []
    let [agreeing, compared] = [0, 0]
    const report = (): void => work.report({ tunings: [...tunings], agreeing, compared })
    for (const batch of batches) {
      const chosen: Map<string, string>[] = []
      const share = work.remaining / 2 / (batches.length - batches.indexOf(batch))
      for (const turn of ['first', 'second']) {
        await work.attempt(`batch ${batch}, ${turn} tuning`, 1, async (device) => {
          const begun = performance.now()
          const { kernels } = await tune(device, lenetStepTasks(device, batch), { budgetMs: Math.min(10_000, share) })
          for (const sentence of wrongVariants(kernels)) work.problem(`batch ${batch}: ${sentence}`)
          chosen.push(new Map(kernels.map((kernel) => [classKey(kernel.task), kernel.chosen])))
          tunings.push({
            batch,
            seconds: rounded((performance.now() - begun) / 1000),
            kernels: kernels.map(variantTimes),
          })
        })
      }
      const [first = new Map<string, string>(), second = new Map<string, string>()] = chosen
      for (const [kernel, variant] of first) {
        if (!second.has(kernel)) continue
        compared++
        if (second.get(kernel) === variant) agreeing++
      }
      report()
    }
  },
  page({ tunings, agreeing, compared }) {
    return [
      `Two tunings chose the same variant for ${agreeing} of ${compared} kernels.`,
      ...tunings.flatMap(({ batch, seconds, kernels }) => [
        '',
        `<details><summary>Batch ${batch}, ${seconds.toFixed(1)} s</summary>`,
        '',
        '| kernel | preferred | chosen | ms |',
        '|---|---|---|---|',
        ...kernels.map(({ kernel, preferred, chosen, variants }) => {
          const times = Object.entries(variants).map(([variant, result]) => `${variant} ${result}`)
          return `| ${kernel.replaceAll('|', ' ')} | ${preferred} | ${chosen} | ${times.join('; ')} |`
        }),
        '',
        '</details>',
      ]),
    ]
  },
}
