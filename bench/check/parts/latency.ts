/**
 * Times everything but arithmetic: submitting, compiling, binding and transfers, which dominate steps of small kernels.
 */

import type { BoundCommands, UnboundCommand } from '../../../src/gpu/bind.ts'
import { bindCommands } from '../../../src/gpu/bind.ts'
import type { Device, DeviceBuffer } from '../../../src/gpu/device.ts'
import { summarize } from '../../measure.ts'
import { rounded, short } from '../../report.ts'
import type { Part, PartWork } from '../part.ts'

export interface LatencyFigures {
  /** Median ms of each action. */
  readonly milliseconds: Readonly<Record<string, number>>
  /** GB/s of large transfers. */
  readonly transfers: Readonly<Record<string, number>>
}

const dispatches = 1000
const transferBytes = 64 * 2 ** 20

export const latencyPart: Part<LatencyFigures> = {
  name: 'latency',
  title: 'Latency',
  seconds: 12,
  async run(work) {
    const milliseconds: Record<string, number> = {}
    const transfers: Record<string, number> = {}
    const samples = work.options.quick ? 5 : 15
    const report = (): void => work.report({ milliseconds: { ...milliseconds }, transfers: { ...transfers } })
    const measure = async (what: string, run: () => Promise<number>): Promise<void> => {
      const found: number[] = []
      await run()
      for (let i = 0; i < samples; i++) found.push(await run())
      milliseconds[what] = rounded(summarize(found).median)
      report()
    }
    await work.attempt('dispatches', 1, async (device) => {
      using counter = device.allocate(4, 'counter')
      const { commands, dispose } = await bindCommands(device, [increment(counter, 1)], 'latency')
      try {
        let expected = 0
        const run = async (repeats: number): Promise<void> => {
          expected += repeats
          device.submitNow(commands, repeats)
          await device.idle()
        }
        await measure('submit one dispatch and wait', () => clocked(() => run(1)))
        await measure(`a dispatch of ${dispatches} in one submission`, async () => {
          return (await clocked(() => run(dispatches))) / dispatches
        })
        if (device.timestamps)
          await measure(`a dispatch of ${dispatches}, by the device's clock`, async () => {
            expected += dispatches
            return (await device.timeOnDevice(commands, dispatches)) / dispatches
          })
        await measure('submit, without waiting', async () => {
          const took = await clocked(async () => device.submitNow(commands))
          expected++
          await device.idle()
          return took
        })
        await measure('read 4 bytes back', () => clocked(async () => void (await device.read(counter.slice(0, 4)))))
        const [counted] = new Uint32Array(await device.read(counter.slice(0, 4)))
        if (counted !== expected) work.problem(`${expected} dispatches were submitted, but ${counted} took effect.`)
      } finally {
        dispose()
      }
    })
    await work.attempt('pipelines', 1, async (device) => {
      using counter = device.allocate(4, 'counter')
      let step = 1
      await measure('compile a small kernel and bind it', () => bindNew(device, () => increment(counter, ++step)))
      await measure('bind a compiled kernel', () => bindNew(device, () => increment(counter, 2)))
    })
    await work.attempt('transfers', 1, async (device) => await measureTransfers(work, device, transfers, samples))
    report()
    await work.attempt('opening a device', 1, async () => {
      milliseconds['open a device'] = rounded(await clocked(async () => void (await work.reopen())))
    })
    report()
  },
  page({ milliseconds, transfers }) {
    return [
      '| | ms |',
      '|---|---:|',
      ...Object.entries(milliseconds).map(([what, time]) => `| ${what} | ${short(time)} |`),
      '',
      '| | GB/s |',
      '|---|---:|',
      ...Object.entries(transfers).map(([what, rate]) => `| ${what} | ${short(rate)} |`),
    ]
  },
}

/** A kernel of one lane that adds to a number. Each step is a separate kernel. */
function increment(counter: DeviceBuffer, step: number): UnboundCommand {
  return {
    label: `add ${step}`,
    wgsl: `@group(0) @binding(0) var<uniform> unused: vec4u;
@group(0) @binding(1) var<storage, read_write> counter: array<u32>;
@compute @workgroup_size(1)
fn main() {
  counter[0] = counter[0] + ${step}u + unused.x;
}
`,
    access: ['read_write'],
    uniforms: new Uint32Array(4),
    workgroups: [1, 1, 1],
    slices: [counter.slice()],
  }
}

async function bindNew(device: Device, command: () => UnboundCommand): Promise<number> {
  let bound: BoundCommands | undefined
  const took = await clocked(async () => {
    bound = await bindCommands(device, [command()], 'latency')
  })
  bound?.dispose()
  return took
}

async function measureTransfers(
  work: PartWork<LatencyFigures>,
  device: Device,
  transfers: Record<string, number>,
  samples: number,
): Promise<void> {
  const bytes = Math.min(transferBytes, device.limits.maxBufferSize)
  const numbers = Uint32Array.from({ length: bytes / 4 }, (_, i) => i)
  using buffer = device.allocate(bytes, 'transfer')
  const writes: number[] = []
  const reads: number[] = []
  for (let i = 0; i <= samples; i++) {
    numbers[numbers.length - 1] = i
    writes.push(
      await clocked(async () => {
        device.write(buffer.slice(), numbers)
        await device.idle()
      }),
    )
    let back = new ArrayBuffer(0)
    reads.push(
      await clocked(async () => {
        back = await device.read(buffer.slice())
      }),
    )
    if (new Uint32Array(back).at(-1) !== i) work.problem('The bytes read back differ from the bytes written.')
  }
  const megabytes = (bytes / 2 ** 20).toFixed(0)
  const rate = (times: readonly number[]): number => rounded(bytes / 1e6 / summarize(times.slice(1)).median)
  transfers[`write ${megabytes} MiB`] = rate(writes)
  transfers[`read ${megabytes} MiB back`] = rate(reads)
}

async function clocked(run: () => Promise<void>): Promise<number> {
  const begun = performance.now()
  await run()
  return performance.now() - begun
}
