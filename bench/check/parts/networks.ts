/** Times whole passes of the pretrained networks as feature extractors, at a small size and at the trained one. */

import type { Device } from '../../../src/gpu/device.ts'
import type { VariantTable } from '../../../src/graph/plan/choice.ts'
import type { TunedKernel } from '../../../src/graph/tuning/tuning.ts'
import { tune } from '../../../src/graph/tuning/tuning.ts'
import type { PretrainedName } from '../../../src/nn/models/pretrained.ts'
import type { OpenCase } from '../../case.ts'
import type { NetworkSize } from '../../networks.ts'
import { flopsOfPass, networkSizes, openNetwork } from '../../networks.ts'
import { rounded, short } from '../../report.ts'
import type { Part, PartWork } from '../part.ts'
import type { Timing, VariantTimes } from '../workload.ts'
import { onceTimed, timedWithTuned, timeOf, variantTimes } from '../workload.ts'

interface NetworkRow {
  readonly network: PretrainedName
  readonly pixels: number
  readonly batch: number
  readonly preferred: Timing
  readonly tuned?: Timing
  /** Rate of the faster of the two. */
  readonly imagesPerSecond: number
  readonly gflops: number
  /** Weights, activations and images on the device. */
  readonly bytes: number
  /** ms from the first weight to the end of the first pass, which includes compiling. */
  readonly firstMilliseconds: number
  readonly kernels: readonly VariantTimes[]
}

export interface NetworkFigures {
  readonly passes: readonly NetworkRow[]
}

/** Seconds to set up a network: its weights are hashed from their names on the host. */
const preparing: { readonly [name in PretrainedName]: number } = { vgg16: 2, xception: 3, resnet152v2: 6 }
/** Passes after the first, without tuning: one to time, others to compare. */
const passesAtLeast = 2
/** The fewest passes for tuning and sampling. With less time, only a single pass is timed. */
const passesOfRow = 20

export const networksPart: Part<NetworkFigures> = {
  name: 'networks',
  title: 'Features of the networks',
  seconds: 50,
  async run(work) {
    const passes: NetworkRow[] = []
    const all = (Object.keys(networkSizes) as PretrainedName[])
      .flatMap((name) =>
        networkSizes[name].map((size) => ({ name, size, flops: flopsOfPass(work.device, name, size) })),
      )
      .sort((a, b) => a.flops - b.flops)
    // The longest so far, in seconds: to finish the first pass, with compiling, and for one operation of a pass.
    let [longestFirst, longestFlop] = [0, 0]
    for (const { name, size, flops } of all) {
      // The network is set up twice: for a batch, and for the single image of the verification.
      const seconds = preparing[name] + 2 * longestFirst + passesAtLeast * flops * longestFlop
      await work.attempt(`${name} at ${size.pixels} px`, seconds, async (device) => {
        const row = await timeNetwork(work, device, name, size, (first) => work.report({ passes: [...passes, first] }))
        longestFirst = Math.max(longestFirst, row.firstMilliseconds / 1000)
        longestFlop = Math.max(longestFlop, row.preferred.milliseconds / 1000 / flops)
        passes.push(row)
        work.report({ passes: [...passes] })
      })
    }
  },
  page({ passes }) {
    const time = (timing?: Timing): string => (timing === undefined ? '' : short(timeOf(timing)))
    return [
      '| network | px | batch | preferred ms | tuned ms | images/s | GFLOP/s | MB | first ms |',
      '|---|---:|---:|---:|---:|---:|---:|---:|---:|',
      ...passes.map((row) => {
        const { network, pixels, batch, preferred, tuned, imagesPerSecond, gflops, bytes, firstMilliseconds } = row
        const cells = [network, pixels, batch, time(preferred), time(tuned), short(imagesPerSecond), short(gflops)]
        return `| ${[...cells, short(bytes / 1e6), short(firstMilliseconds)].join(' | ')} |`
      }),
    ]
  },
}

/** Times one network. `onFirst` gets the row before tuning. */
async function timeNetwork(
  work: PartWork<NetworkFigures>,
  device: Device,
  name: PretrainedName,
  size: NetworkSize,
  onFirst: (row: NetworkRow) => void,
): Promise<NetworkRow> {
  const what = `${name} at ${size.pixels} px`
  const opened: OpenCase[] = []
  try {
    const begun = performance.now()
    const preferred = await openNetwork(device, name, size)
    opened.push(preferred)
    await preferred.run(1)
    const compiled = performance.now()
    const { liveBytes } = device.memory()
    await preferred.run(1)
    const once = performance.now() - compiled
    const rowOf = (kernels: readonly TunedKernel[], first: Timing, tuned?: Timing): NetworkRow => {
      const batch = preferred.imagesPerRepeat ?? 0
      const fastest = Math.min(timeOf(first), timeOf(tuned ?? first))
      return {
        network: name,
        pixels: size.pixels,
        batch,
        preferred: first,
        ...(tuned === undefined ? {} : { tuned }),
        imagesPerSecond: rounded((1000 * batch) / fastest),
        gflops: rounded(preferred.flops / fastest / 1e6),
        bytes: liveBytes,
        firstMilliseconds: rounded(compiled - begun),
        kernels: kernels.map(variantTimes),
      }
    }
    const single = rowOf([], onceTimed(once))
    onFirst(single)
    await preferred.verify()
    if (work.remaining < passesOfRow * once) {
      work.left(`${what}: tuning and more samples (a pass takes ${(once / 1000).toFixed(1)} s).`)
      return single
    }
    const { kernels } = await tune(device, preferred.tasks, { budgetMs: Math.min(6000, work.remaining / 8) })
    const openTuned = (variants: VariantTable) => preferred.withVariants(variants)
    const [first, tuned] = await timedWithTuned(work, what, kernels, opened, openTuned, 1 / 16)
    await opened.at(-1)?.verify()
    return rowOf(kernels, first, tuned)
  } finally {
    for (const one of opened.toReversed()) one.dispose()
  }
}
