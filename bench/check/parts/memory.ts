/** Checks how large a binding can be, down to its last word, and how much memory LeNet-5's training uses. */

import { bindCommands } from '../../../src/gpu/bind.ts'
import type { Device } from '../../../src/gpu/device.ts'
import { openLenetStep } from '../../lenet.ts'
import { short } from '../../report.ts'
import type { Part } from '../part.ts'

/** The largest binding tried. A larger one would prove nothing more, and could exhaust the memory. */
const mostBytes = 2 ** 31

export interface MemoryFigures {
  /** The largest buffer whose last word a kernel wrote and the host read back. */
  readonly largestBinding: number
  /** The largest binding that the adapter promises, in bytes. */
  readonly promised: number
  /** Bytes used by images, weights, moments and activations, by training. */
  readonly training: Readonly<Record<string, number>>
}

export const memoryPart: Part<MemoryFigures> = {
  name: 'memory',
  title: 'Memory',
  seconds: 15,
  async run(work) {
    const { maxStorageBufferBindingSize, maxBufferSize } = work.device.limits
    const promised = Math.min(maxStorageBufferBindingSize, maxBufferSize)
    const training: Record<string, number> = {}
    let largestBinding = 0
    const report = (): void => work.report({ largestBinding, promised, training: { ...training } })
    for (const batch of [32, 128, 512]) {
      await work.attempt(`LeNet-5, batch ${batch}`, 0.5, async (device) => {
        const step = await openLenetStep(device, batch)
        await step.run(1)
        training[`LeNet-5, batch ${batch}`] = device.memory().liveBytes
        step.dispose()
        report()
      })
    }
    for (let bytes = Math.min(promised, mostBytes); bytes >= 2 ** 26 && largestBinding === 0; bytes /= 2) {
      const words = Math.floor(bytes / 4)
      await work.attempt(`a binding of ${short(bytes / 2 ** 20)} MiB`, 0.5, async (device) => {
        const word = await lastWord(device, words)
        if (word === words - 1) largestBinding = 4 * words
        else work.problem(`The last word of ${4 * words} bytes holds ${word}, not ${words - 1}.`)
      })
      report()
    }
  },
  page({ largestBinding, promised, training }) {
    const megabytes = (bytes: number): string => short(bytes / 2 ** 20)
    return [
      `${largestBinding === 0 ? 'No large buffer was tried' : `A kernel reached the last word of a buffer of ${megabytes(largestBinding)} MiB`}; ${megabytes(promised)} MiB are promised.`,
      '',
      '| | MiB |',
      '|---|---:|',
      ...Object.entries(training).map(([what, bytes]) => `| ${what} | ${megabytes(bytes)} |`),
    ]
  },
}

/** Writes the number of the last word into it, and reads it back. */
async function lastWord(device: Device, words: number): Promise<number | undefined> {
  using buffer = device.allocate(4 * words, 'largest binding')
  const command = {
    label: 'last word',
    wgsl: `@group(0) @binding(0) var<uniform> place: vec4u;
@group(0) @binding(1) var<storage, read_write> all: array<u32>;
@compute @workgroup_size(1)
fn main() {
  all[place.x] = place.x;
}
`,
    access: ['read_write' as const],
    uniforms: Uint32Array.of(words - 1, 0, 0, 0),
    workgroups: [1, 1, 1] as const,
    slices: [buffer.slice()],
  }
  const { commands, dispose } = await bindCommands(device, [command], 'last word')
  try {
    device.submitNow(commands)
    const offset = 4 * words - 256
    return new Uint32Array(await device.read(buffer.slice(offset, 256))).at(-1)
  } finally {
    dispose()
  }
}
