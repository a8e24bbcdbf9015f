/**
 * Checks what kernels rely on: how lanes form subgroups, and how floats behave at the ends of their range. A wrong
 * subgroup size gives wrong numbers without an error.
 */

import { bindCommands } from '../../../src/gpu/bind.ts'
import type { Device } from '../../../src/gpu/device.ts'
import type { Peak } from '../../peak.ts'
import { measureCeiling } from '../../peak.ts'
import { rounded, short } from '../../report.ts'
import type { Part } from '../part.ts'

/** The workgroup sizes of weftgrad's kernels: one subgroup on a CPU, 64 or more on a GPU. */
const workgroupSizes = [8, 16, 32, 64, 128, 256]

/** Few samples for a dozen kernels: this only needs to tell GFLOP/s from TFLOP/s. */
const ceilingSampling = { samples: 3, sampleMilliseconds: 10, budgetMilliseconds: 200, fewestSamples: 2 }

interface SubgroupProbe {
  readonly workgroupSize: number
  /** The subgroup sizes that lanes reported. */
  readonly sizes: readonly number[]
  /** Whether lane i is lane i % size of its subgroup. */
  readonly linear: boolean
  /** Whether broadcasts and sums within subgroups were correct. */
  readonly right: boolean
}

interface FloatProbe {
  /** False if numbers below 1.2e-38 count as zero. WGSL allows both. */
  readonly keepsDenormals: boolean
  /** Whether `fma` rounds once. WGSL allows both. */
  readonly fusesMultiplyAdd: boolean
  /** Whether a NaN is still a NaN, by its bits, after `max` and a sum. */
  readonly keepsNaN: boolean
}

export interface AdapterFigures {
  readonly believedSubgroupSize: number | undefined
  readonly subgroups: readonly SubgroupProbe[]
  readonly floats: FloatProbe | undefined
  /** The rates of simple kernels: GFLOP/s of multiply-adds, GB/s read and written. */
  readonly ceiling: Pick<Peak, 'gflops' | 'gbps'> | undefined
}

export const adapterPart: Part<AdapterFigures> = {
  name: 'adapter',
  title: 'Adapter',
  seconds: 15,
  async run(work) {
    const believed = work.device.subgroups.size
    const subgroups: SubgroupProbe[] = []
    let floats: FloatProbe | undefined
    let ceiling: AdapterFigures['ceiling']
    const report = (): void =>
      work.report({ believedSubgroupSize: believed, subgroups: [...subgroups], floats, ceiling })
    report()
    if (work.device.gpu.features.has('subgroups')) {
      for (const size of workgroupSizes) {
        if (size > work.device.limits.maxComputeInvocationsPerWorkgroup) continue
        await work.attempt(`subgroups in workgroups of ${size}`, 0.1, async (device) => {
          subgroups.push(await probeSubgroups(device, size))
        })
      }
      for (const { workgroupSize, sizes, linear, right } of subgroups) {
        const what = `In workgroups of ${workgroupSize} lanes`
        if (!right) work.problem(`${what}, subgroup operations gave wrong results.`)
        // Smaller workgroups may have smaller or partly empty subgroups, but kernels only use whole ones.
        if (believed === undefined || workgroupSize < believed) continue
        if (sizes.some((size) => size !== believed))
          work.problem(`${what}, subgroups have ${sizes.join(', ')} lanes, but kernels assume ${believed}.`)
        if (!linear) work.problem(`${what}, lanes are not numbered in order within subgroups, which kernels assume.`)
      }
    } else work.left('Subgroups: the adapter has none.')
    await work.attempt('floats', 0.1, async (device) => {
      floats = await probeFloats(device)
    })
    report()
    await work.attempt('ceiling', 2, async (device) => {
      const { peak, dispose } = await measureCeiling(device, ceilingSampling)
      dispose()
      ceiling = { gflops: rounded(peak.gflops), gbps: rounded(peak.gbps) }
    })
    report()
  },
  page({ believedSubgroupSize, subgroups, floats, ceiling }) {
    const yes = (is: boolean): string => (is ? 'yes' : 'no')
    return [
      `Kernels assume subgroups of ${believedSubgroupSize ?? 'no fixed size'}.`,
      '',
      '| workgroup | subgroups of | in order | right |',
      '|---:|---:|---|---|',
      ...subgroups.map((p) => `| ${p.workgroupSize} | ${p.sizes.join(', ')} | ${yes(p.linear)} | ${yes(p.right)} |`),
      '',
      ...(floats === undefined
        ? []
        : [
            `Floats: denormals kept: ${yes(floats.keepsDenormals)}; \`fma\` rounds once: ${yes(floats.fusesMultiplyAdd)}; ` +
              `NaN survives \`max\`: ${yes(floats.keepsNaN)}.`,
          ]),
      ...(ceiling === undefined
        ? []
        : ['', `Simple kernels reach ${short(ceiling.gflops)} GFLOP/s and ${short(ceiling.gbps)} GB/s.`]),
    ]
  },
}

/** Runs a kernel that writes u32 words, and reads them back. */
async function runWords(device: Device, label: string, wgsl: string, count: number, input: Uint32Array<ArrayBuffer>) {
  using result = device.allocate(count * 4, label)
  using operand = device.allocate(input.byteLength, label)
  device.write(operand.slice(), input)
  const { commands, dispose } = await bindCommands(
    device,
    [
      {
        label,
        wgsl,
        access: ['read_write', 'read'],
        uniforms: new Uint32Array(4),
        workgroups: [1, 1, 1],
        slices: [result.slice(), operand.slice()],
      },
    ],
    label,
  )
  try {
    device.submitNow(commands)
    return new Uint32Array(await device.read(result.slice(0, count * 4)))
  } finally {
    dispose()
  }
}

async function probeSubgroups(device: Device, workgroupSize: number): Promise<SubgroupProbe> {
  const columns = 4
  const words = await runWords(
    device,
    `subgroup probe ${workgroupSize}`,
    `enable subgroups;
@group(0) @binding(0) var<uniform> unused: vec4u;
@group(0) @binding(1) var<storage, read_write> result: array<u32>;
@group(0) @binding(2) var<storage, read> weights: array<u32>;
@compute @workgroup_size(${workgroupSize})
fn main(
  @builtin(local_invocation_index) lane: u32,
  @builtin(subgroup_size) size: u32,
  @builtin(subgroup_invocation_id) place: u32,
) {
  let first = subgroupBroadcast(lane, 0u);
  let sum = subgroupAdd(weights[lane]);
  result[lane * ${columns}u] = size;
  result[lane * ${columns}u + 1u] = place;
  result[lane * ${columns}u + 2u] = first;
  result[lane * ${columns}u + 3u] = sum + unused.x;
}
`,
    workgroupSize * columns,
    Uint32Array.from({ length: workgroupSize }, (_, lane) => lane + 1),
  )
  const lanes = Array.from({ length: workgroupSize }, (_, lane) => {
    const [size = 0, place = 0, first = 0, sum = 0] = words.subarray(lane * columns, (lane + 1) * columns)
    return { lane, size, place, first, sum }
  })
  // Lanes that report the same first lane form a subgroup.
  const sums = new Map<number, number>()
  for (const { lane, first } of lanes) sums.set(first, (sums.get(first) ?? 0) + lane + 1)
  return {
    workgroupSize,
    sizes: [...new Set(lanes.map(({ size }) => size))].sort((a, b) => a - b),
    linear: lanes.every(({ lane, size, place }) => place === lane % Math.max(1, size)),
    right: lanes.every(({ first, sum }) => sum === sums.get(first) && lanes[first]?.place === 0),
  }
}

const bits = (x: number): number => new Uint32Array(Float32Array.of(x).buffer)[0] ?? 0

async function probeFloats(device: Device): Promise<FloatProbe> {
  // Operands come from memory, so that no compiler can fold them.
  const operands = Uint32Array.of(bits(1e-40), bits(1), bits(1 + 2 ** -12), bits(-(1 + 2 ** -11)), 0x7fc00000, bits(0))
  const [denormal = 0, fused = 0, largest = 0, sum = 0] = await runWords(
    device,
    'float probe',
    `@group(0) @binding(0) var<uniform> unused: vec4u;
@group(0) @binding(1) var<storage, read_write> result: array<u32>;
@group(0) @binding(2) var<storage, read> x: array<u32>;
@compute @workgroup_size(1)
fn main() {
  let denormal = bitcast<f32>(x[0]) * bitcast<f32>(x[1]);
  let a = bitcast<f32>(x[2]);
  let fused = fma(a, a, bitcast<f32>(x[3]));
  let nan = bitcast<f32>(x[4]);
  let zero = bitcast<f32>(x[5]);
  result[0] = bitcast<u32>(denormal) + unused.x;
  result[1] = bitcast<u32>(fused);
  result[2] = bitcast<u32>(max(nan, zero));
  result[3] = bitcast<u32>(nan + zero);
}
`,
    4,
    operands,
  )
  const isNaNBits = (word: number): boolean => (word & 0x7fffffff) > 0x7f800000
  return {
    keepsDenormals: denormal !== 0,
    fusesMultiplyAdd: fused === bits(2 ** -24),
    keepsNaN: isNaNBits(largest) && isNaNBits(sum),
  }
}
