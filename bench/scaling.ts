/**
 * `bench scaling`: cost against size. Times a LeNet-5 training step against its batch, the features of one image against
 * its side, and an epoch of training against its images, with the memory held after it. The sizes of a curve are sampled in
 * turn. A line is fitted to each curve beyond its smallest sizes, where fixed costs dominate, and every size is compared
 * with it.
 *
 * A software adapter is timed by the processor time of this process, which other programs disturb less than the clock on
 * the wall.
 */

import type { ImageDataset } from '../src/data/dataset.ts'
import { residentImages } from '../src/data/dataset.ts'
import { writeFileAtomic } from '../src/format/atomic-write.node.ts'
import type { Device } from '../src/gpu/device.ts'
import { fit } from '../src/nn/fit.ts'
import { lenet5 } from '../src/nn/models/lenet5.ts'
import { adam } from '../src/nn/optimizers.ts'
import { Random } from '../src/random.ts'
import { openForCommand } from '../src/runs/device.node.ts'
import { workingCommit } from './commit.ts'
import { openLenetStep } from './lenet.ts'
import type { Sampling, Subject } from './measure.ts'
import { measureInTurn } from './measure.ts'
import { openNetwork } from './networks.ts'
import { rounded } from './report.ts'
import { scalingPicture } from './scaling-picture.ts'
import type { HeldMemory, ScalingCurve, ScalingReport } from './scaling-report.ts'
import { curveLines, curveOf } from './scaling-report.ts'

export interface ScalingOptions {
  /** Smaller sizes, and fewer samples. */
  readonly quick?: boolean | undefined
  /** A file that the report is also written to. */
  readonly json?: string | undefined
  /** A file that a picture of the curves is written to, as SVG. */
  readonly picture?: string | undefined
}

/** A curve to measure. */
interface CurvePlan {
  readonly name: string
  readonly unit: string
  readonly power: 1 | 2
  readonly sizes: readonly number[]
  readonly sampling: Sampling
  open(device: Device, size: number): Promise<OpenSize>
}

interface OpenSize extends Subject {
  readonly memory?: HeldMemory | undefined
  dispose(): void
}

const epochBatch = 120
/** Images on the device; a longer epoch repeats them. */
const residentCount = 60_000

/** The sizes of the three curves: batches, pixels a side, images of an epoch (whole batches). */
export function scalingSizes(quick: boolean): Readonly<Record<'batch' | 'side' | 'epoch', readonly number[]>> {
  const upTo = (sizes: readonly number[], most: number) => sizes.filter((size) => !quick || size <= most)
  return {
    batch: upTo([8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096], 512),
    side: upTo([32, 64, 96, 128, 160, 192, 224], 128),
    epoch: upTo([6_000, 12_000, 24_000, 60_000, 180_000, 600_000], 60_000),
  }
}

function plansOf(quick: boolean, clock: ScalingReport['clock']): CurvePlan[] {
  const sizes = scalingSizes(quick)
  let shared: ImageDataset | undefined
  const now = clock === 'processor' ? processorTime : () => performance.now()
  const samples = quick ? 3 : 9
  const sampling = { samples, sampleMilliseconds: 100, budgetMilliseconds: 20_000, fewestSamples: 3, now }
  return [
    {
      name: 'LeNet-5 training step',
      unit: 'images a batch',
      power: 1,
      sizes: sizes.batch,
      sampling,
      open: (device, batch) => openLenetStep(device, batch),
    },
    {
      name: 'VGG16 features of one image',
      unit: 'pixels a side',
      power: 2,
      sizes: sizes.side,
      sampling,
      open: (device, pixels) => openNetwork(device, 'vgg16', { pixels, batch: 1 }),
    },
    {
      name: `LeNet-5 epoch, batches of ${epochBatch}`,
      unit: 'images an epoch',
      power: 1,
      sizes: sizes.epoch,
      sampling: { ...sampling, samples: quick ? 3 : 5, budgetMilliseconds: 60_000, fewestSamples: 2 },
      open: async (device, images) => {
        shared ??= randomImages(device)
        return new Epoch(shared, images, images > (sizes.epoch[0] ?? 0))
      },
    },
  ]
}

/** Milliseconds that this process has run, on all cores together. */
function processorTime(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

/** Random images: a kernel's time does not depend on its numbers. A tenth is drawn, and repeated. */
function randomImages(device: Device): ImageDataset {
  const [height, width, channels, classes] = [28, 28, 1, 10]
  const random = new Random(1, 'images')
  const drawn = residentCount / 10
  const pixels = Uint8Array.from({ length: drawn * height * width }, () => random.below(256))
  const images = new Uint8Array(residentCount * height * width)
  for (let i = 0; i < 10; i++) images.set(pixels, i * pixels.length)
  const labels = Uint8Array.from({ length: residentCount }, () => random.below(classes))
  return residentImages(device, { images, labels, height, width, channels, classes })
}

/** An epoch as `fit` trains it: it shuffles, reuses compiled kernels, and reads the metrics at the end. */
class Epoch implements OpenSize {
  readonly maxRepeats = 1
  readonly #whole: ImageDataset
  readonly #train: ImageDataset
  #memory: HeldMemory | undefined

  constructor(
    whole: ImageDataset,
    images: number,
    readonly isCompiled: boolean,
  ) {
    this.#whole = whole
    this.#train = whole.subset(Uint32Array.from({ length: images }, (_, i) => i % whole.count))
  }

  /** Of the first epoch: sizes run from the smallest on, and a process gives little memory back. */
  get memory(): HeldMemory | undefined {
    return this.#memory
  }

  async run(): Promise<void> {
    const device = this.#train.device
    using model = lenet5({}, { seed: 1 })
    const onEpochEnd = () => {
      this.#memory ??= { device: device.memory().liveBytes, process: process.memoryUsage.rss() }
    }
    await fit(model, this.#train, { optimizer: adam(), epochs: 1, batchSize: epochBatch, callbacks: { onEpochEnd } })
  }

  /** Epochs share the images; releasing them again does nothing. */
  dispose(): void {
    this.#whole.dispose()
  }
}

/** Measures the curves and prints them. Throws 'file' if a file cannot be written. */
export async function benchScaling(
  { quick = false, json, picture }: ScalingOptions,
  log: (line: string) => void,
): Promise<ScalingReport> {
  const device = await openForCommand()
  try {
    log(device.describe())
    const curves: ScalingCurve[] = []
    const clock = device.facts.hardware ? 'wall' : 'processor'
    for (const plan of plansOf(quick, clock)) {
      const curve = await measureCurve(device, plan)
      curves.push(curve)
      for (const line of curveLines(curve)) log(line)
    }
    const commit = await workingCommit()
    const { size } = device.subgroups
    const report: ScalingReport = {
      adapter: device.describe(),
      driver: device.facts.driver,
      ...(size === undefined ? {} : { vectorBits: 32 * size }),
      hardware: device.facts.hardware,
      clock,
      date: new Date().toISOString(),
      ...(commit === undefined ? {} : { commit }),
      quick,
      curves,
    }
    if (json !== undefined) await writeFileAtomic(json, `${JSON.stringify(report, null, 2)}\n`)
    if (picture !== undefined) await writeFileAtomic(picture, scalingPicture(report))
    for (const file of [json, picture]) if (file !== undefined) log(`Written: ${file}`)
    return report
  } finally {
    device.dispose()
  }
}

async function measureCurve(device: Device, plan: CurvePlan): Promise<ScalingCurve> {
  const open: OpenSize[] = []
  try {
    for (const size of plan.sizes) open.push(await plan.open(device, size))
    const measured = await measureInTurn(open, plan.sampling)
    return curveOf(
      plan,
      measured.map(({ milliseconds, spread, samples }, i) => {
        const { minimum, lowerQuartile, upperQuartile } = spread
        const memory = open[i]?.memory
        return {
          size: plan.sizes[i] ?? Number.NaN,
          milliseconds: rounded(milliseconds),
          spread: {
            minimum: rounded(minimum),
            lowerQuartile: rounded(lowerQuartile),
            upperQuartile: rounded(upperQuartile),
          },
          samples,
          ...(memory === undefined ? {} : { memory }),
        }
      }),
    )
  } finally {
    for (const one of open) one.dispose()
  }
}
