/**
 * Estimates, on paper, what each kernel of a LeNet-5 training step and of VGG16 would take on GPUs that were not at hand, and
 * writes the tables of docs/gpu-estimates.md. Nothing is measured: a recording device collects the dispatches, and
 * published rates give a lower bound of their time.
 *
 *     npm run estimates             writes the tables between the markers
 *     npm run estimates -- --check  fails if the page has others
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { residentImages } from '../src/data/dataset.ts'
import { open } from '../src/gpu/open.ts'
import { Program } from '../src/graph/run/program.ts'
import { nn } from '../src/index.ts'
import { flopsOf } from '../src/kernels/kernel.ts'
import { extractFeatures } from '../test/support/recorded-work.ts'
import { RecordingGpu } from '../test/support/recording-gpu.ts'

interface Adapter {
  readonly name: string
  /** Multiply-adds count as two. */
  readonly teraflops: number
  readonly gigabytesPerSecond: number
  /** Lanes that compute at one time. */
  readonly lanes: number
}

/**
 * Published figures. NVIDIA: the data sheets of the H100 SXM (132 multiprocessors of 128 lanes) and of the GeForce RTX 4070
 * (46). Apple states no rate: 128 lanes for each of ten cores, two operations at 1.4 GHz; 100 GB/s is Apple's. Intel UHD
 * Graphics 770: 32 units of 8 lanes, two operations at 1.55 GHz; two channels of DDR5-4800.
 */
const adapters: readonly Adapter[] = [
  { name: 'H100', teraflops: 66.9, gigabytesPerSecond: 3350, lanes: 132 * 128 },
  { name: 'RTX 4070', teraflops: 29.1, gigabytesPerSecond: 504, lanes: 46 * 128 },
  { name: 'M3', teraflops: 3.6, gigabytesPerSecond: 100, lanes: 10 * 128 },
  { name: 'UHD 770', teraflops: 0.79, gigabytesPerSecond: 76.8, lanes: 32 * 8 },
]

/** Assumed cost of one more dispatch in a pass, in ms. */
const dispatchMs = 0.003

interface Kernel {
  readonly label: string
  readonly flops: number
  /** Each operand once. */
  readonly bytes: number
  /** Lanes launched. */
  readonly lanes: number
}

/** The time of a kernel that reaches every published rate, with as many lanes as it has. */
function milliseconds({ flops, bytes, lanes }: Kernel, adapter: Adapter): number {
  const filled = Math.min(1, lanes / adapter.lanes)
  return Math.max(flops / (adapter.teraflops * 1e9 * filled), bytes / (adapter.gigabytesPerSecond * 1e6)) + dispatchMs
}

/** The kernels of every program that `run` makes on a GPU with subgroups of 32. */
async function recorded(run: (device: Awaited<ReturnType<typeof open>>) => Promise<void>): Promise<Kernel[][]> {
  using device = await open({ gpu: new RecordingGpu({ subgroupSize: 32 }).gpu })
  const programs: Kernel[][] = []
  const create = Program.create.bind(Program)
  Program.create = async (on, plan, label, after = () => []) => {
    const kernels: Kernel[] = plan.dispatches.map(({ operands, ...dispatch }) =>
      kernelOf(
        dispatch,
        dispatch.flops,
        operands.map((location) => (location.kind === 'buffer' ? location.slice.bytes : location.bytes)),
      ),
    )
    programs.push(kernels)
    return create(on, plan, label, (...given) => {
      const more = after(...given)
      for (const { plan: own, inputs, outputs } of more)
        for (const dispatch of own.dispatches) {
          const operands = { input: inputs, output: outputs, scratch: own.scratchBytes.map((bytes) => ({ bytes })) }
          const bytes = dispatch.bindings.map(({ operand: { role, index } }) => operands[role][index]?.bytes ?? 0)
          kernels.push(kernelOf(dispatch, flopsOf(own, dispatch), bytes))
        }
      return more
    })
  }
  try {
    await run(device)
  } finally {
    Program.create = create
  }
  return programs
}

function kernelOf(
  dispatch: { readonly label: string; readonly wgsl: string; readonly workgroups: readonly number[] },
  flops: number,
  operandBytes: readonly number[],
): Kernel {
  const size = Number(/@workgroup_size\((\d+)\)/.exec(dispatch.wgsl)?.[1])
  const groups = dispatch.workgroups.reduce((product, extent) => product * extent, 1)
  const bytes = operandBytes.reduce((sum, one) => sum + one, 0)
  return { label: dispatch.label, flops, bytes, lanes: groups * size }
}

/** A training step of LeNet-5. The data set is the batch, so that the gather counts what it reads. */
async function lenetStep(batch: number): Promise<Kernel[]> {
  const [step] = await recorded(async (device) => {
    const images = { images: new Uint8Array(batch * 784), labels: new Uint8Array(batch) }
    using data = residentImages(device, { ...images, height: 28, width: 28, channels: 1, classes: 10 })
    using model = nn.lenet5({}, { seed: 1 })
    await nn.fit(model, data, { epochs: 1, batchSize: batch, optimizer: nn.adam() })
  })
  return step ?? []
}

async function vgg16Features(size: number, images: number): Promise<Kernel[]> {
  const programs = await recorded((device) => extractFeatures(device, ['vgg16', size, 'block5_pool'], images))
  return programs.at(-1) ?? []
}

const fixed = (x: number): string => (x < 0.1 ? x.toFixed(3) : x.toFixed(2))

function table(kernels: readonly Kernel[], unit: { readonly name: string; readonly flops: number }): string {
  const rows = kernels.map((kernel) => [
    kernel.label,
    kernel.flops === 0 ? '' : fixed(kernel.flops / unit.flops),
    fixed(kernel.bytes / 1e6),
    kernel.lanes.toLocaleString('en'),
    ...adapters.map((adapter) => fixed(milliseconds(kernel, adapter))),
  ])
  const total = adapters.map((adapter) => fixed(kernels.reduce((sum, one) => sum + milliseconds(one, adapter), 0)))
  return [
    `| kernel | ${unit.name} | MB | lanes | ${adapters.map(({ name }) => `${name}, ms`).join(' | ')} |`,
    `|---|${'---:|'.repeat(3 + adapters.length)}`,
    ...rows.map((cells) => `| ${cells.join(' | ')} |`),
    `| **all ${kernels.length}** | | | | ${total.map((text) => `**${text}**`).join(' | ')} |`,
  ].join('\n')
}

const page = new URL('../docs/gpu-estimates.md', import.meta.url)
const begin = '<!-- tables: begin (npm run estimates) -->'
const end = '<!-- tables: end -->'
const text = readFileSync(page, 'utf8')
const [before, rest] = text.split(begin)
const after = rest?.split(end)[1]
if (before === undefined || after === undefined) throw new Error(`the page lacks the markers ${begin} and ${end}`)
const mflop = { name: 'MFLOP', flops: 1e6 }
const gflop = { name: 'GFLOP', flops: 1e9 }
const tables = [
  `## A training step of LeNet-5, batch 128 *(estimated)*\n\n${table(await lenetStep(128), mflop)}`,
  `## VGG16 at 32 pixels, 256 images *(estimated)*\n\n${table(await vgg16Features(32, 256), gflop)}`,
  `## VGG16 at 224 pixels, 16 images *(estimated)*\n\n${table(await vgg16Features(224, 16), gflop)}`,
]
const wanted = `${before}${begin}\n\n${tables.join('\n\n')}\n\n${end}${after}`
if (!process.argv.includes('--check')) writeFileSync(page, wanted)
else if (wanted !== text) {
  console.error('docs/gpu-estimates.md is out of date: run `npm run estimates`.')
  process.exitCode = 1
}
