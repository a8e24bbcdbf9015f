/**
 * The adapter's ceiling: the most multiply-adds per second and the most bytes per second that a simple kernel reaches,
 * over several shapes of that kernel. Every share that a benchmark reports is a share of these, measured in the same
 * run.
 */

import { bindCommands } from '../src/gpu/bind.ts'
import type { Device, DeviceBuffer } from '../src/gpu/device.ts'
import { targetOf } from '../src/graph/run/program.ts'
import type { Dispatch, Target } from '../src/kernels/kernel.ts'
import { dispatch, input, output, reads, writes } from '../src/kernels/kernel.ts'
import type { Sampling, Subject } from './measure.ts'
import { measureInTurn } from './measure.ts'
import { WrongResult } from './verify.ts'

export interface Peak {
  /** f32 multiply-adds count as two operations. */
  readonly gflops: number
  /** Bytes read and bytes written both count. */
  readonly gbps: number
  /** The kernels that reached these rates. */
  readonly shapes: { readonly gflops: string; readonly gbps: string }
}

interface ArithmeticShape {
  readonly name: string
  /** Independent accumulators per lane, each a vec4f. */
  readonly accumulators: number
  readonly workgroupSize: number
  readonly fma: boolean
}

interface CopyShape {
  readonly name: string
  readonly workgroupSize: number
  /** Number of vec4f that a lane copies. */
  readonly vectors: number
  /** Number of vec4f that a lane loads before it stores them. */
  readonly atOnce: number
}

/** Bytes to copy: more than the caches of a CPU, and of most GPUs, hold. */
const copyBytes = 64 * 1024 * 1024

/** The kernel that reached a ceiling, to be sampled in turn with the cases. */
export interface Yardstick extends Subject {
  /** Operations or bytes of one repeat. */
  readonly work: number
  dispose(): void
}

export interface Ceiling {
  readonly peak: Peak
  readonly yardsticks: { readonly arithmetic: Yardstick; readonly memory: Yardstick }
  dispose(): void
}

/** Measures both ceilings: the best sample of the best shape. Throws WrongResult if a kernel did not do its work. */
export async function measureCeiling(device: Device, sampling: Sampling): Promise<Ceiling> {
  const target = targetOf(device)
  const arithmetic = await best(
    arithmeticShapes(target).map((shape) => () => arithmeticKernel(device, target, shape)),
    sampling,
  )
  try {
    const memory = await best(
      copyShapes(target).map((shape) => () => copyKernel(device, shape)),
      sampling,
    )
    return {
      peak: {
        gflops: arithmetic.rate,
        gbps: memory.rate,
        shapes: { gflops: arithmetic.kernel.name, gbps: memory.kernel.name },
      },
      yardsticks: { arithmetic: arithmetic.kernel, memory: memory.kernel },
      dispose: () => {
        arithmetic.kernel.dispose()
        memory.kernel.dispose()
      },
    }
  } catch (error) {
    arithmetic.kernel.dispose()
    throw error
  }
}

/** A bound kernel whose result can be verified. */
interface PeakKernel extends Yardstick {
  readonly name: string
  verify(): Promise<void>
}

/** The fastest kernel, and its GFLOP/s or GB/s in its best sample. Only the winner stays allocated. */
async function best(
  makers: readonly (() => Promise<PeakKernel>)[],
  sampling: Sampling,
): Promise<{ kernel: PeakKernel; rate: number }> {
  let found: { kernel: PeakKernel; rate: number } | undefined
  for (const make of makers) {
    const kernel = await make()
    let rate: number
    try {
      const [measured] = await measureInTurn([kernel], { ...sampling, samples: Math.min(sampling.samples, 8) })
      await kernel.verify()
      rate = rateOf(kernel, measured?.spread.minimum ?? Number.NaN)
    } catch (error) {
      kernel.dispose()
      found?.kernel.dispose()
      throw error
    }
    if (found !== undefined && rate <= found.rate) kernel.dispose()
    else {
      found?.kernel.dispose()
      found = { kernel, rate }
    }
  }
  if (found === undefined) throw new RangeError('there is no shape to measure')
  return found
}

/** GFLOP/s or GB/s of a yardstick that takes this many ms. */
export function rateOf(yardstick: Yardstick, milliseconds: number): number {
  return yardstick.work / (milliseconds * 1e6)
}

function arithmeticShapes(target: Target): ArithmeticShape[] {
  // On a CPU a workgroup is one subgroup, and 16 vector registers hold a few accumulators (a vec4f of eight lanes takes
  // four registers). A GPU hides latency with many lanes.
  const sizes = target.class === 'cpu' ? [target.subgroupSize ?? 8] : [64, 256]
  const counts = target.class === 'cpu' ? [2, 3, 4, 8] : [4, 8, 16]
  return sizes.flatMap((workgroupSize) =>
    counts.flatMap((accumulators) =>
      [false, true].map((fma) => ({
        name: `${fma ? 'fma' : 'multiply-add'}, ${accumulators} x vec4f, workgroups of ${workgroupSize}`,
        accumulators,
        workgroupSize,
        fma,
      })),
    ),
  )
}

const factor = 0.9995
const summand = 0.0005

/** The start of accumulator `i` of lane `index`: all differ, so that no compiler merges them. */
const start = (index: number, i: number): number => (index % 64) / 64 + i

async function arithmeticKernel(device: Device, target: Target, shape: ArithmeticShape): Promise<PeakKernel> {
  const { accumulators, workgroupSize } = shape
  const groups = target.class === 'cpu' ? 64 : 4096
  const steps = target.class === 'cpu' ? 2000 : 1000
  const unroll = 4
  const lanes = groups * workgroupSize
  const names = Array.from({ length: accumulators }, (_, i) => `a${i}`)
  const update = names.map((a) => `    ${a} = ${shape.fma ? `fma(${a}, factor, summand)` : `${a} * factor + summand`};`)
  const kernel = dispatch({
    label: `peak/${shape.name}`,
    bindings: [writes('result', output(0))],
    uniforms: { steps, factor: { f32: factor }, summand: { f32: summand } },
    workgroupSize,
    workgroups: groups,
    body: `
  let factor = vec4f(u.factor);
  let summand = vec4f(u.summand);
${names.map((a, i) => `  var ${a} = vec4f(f32(index % 64u) / 64.0 + ${i}.0) + vec4f(0.0, 0.25, 0.5, 0.75);`).join('\n')}
  for (var step = 0u; step < u.steps; step++) {
${Array.from({ length: unroll }, () => update.join('\n')).join('\n')}
  }
  let sum = ${names.join(' + ')};
  result[index] = sum.x + sum.y + sum.z + sum.w;`,
  })
  const result = device.allocate(lanes * 4, 'peak result')
  return bound(device, shape.name, kernel, {
    input: [],
    output: [result],
    work: lanes * steps * unroll * accumulators * 4 * 2,
    async verify() {
      const sums = new Float32Array(await device.read(result.slice(0, lanes * 4)))
      const decay = factor ** (steps * unroll)
      for (const index of [0, lanes - 1]) {
        // a -> a * factor + summand tends to 1, since factor + summand = 1.
        let expected = 0
        for (let i = 0; i < accumulators; i++)
          for (const part of [0, 0.25, 0.5, 0.75]) expected += 1 + (start(index, i) + part - 1) * decay
        const actual = sums[index] ?? Number.NaN
        if (!(Math.abs(actual - expected) <= 1e-3 * expected))
          throw new WrongResult(`${kernel.label}: lane ${index} gave ${actual} where ${expected} was expected`)
      }
    },
  })
}

function copyShapes(target: Target): CopyShape[] {
  const make = (workgroupSize: number, vectors: number, atOnce: number): CopyShape => ({
    name: `vec4f, ${vectors} a lane, ${atOnce} at once, workgroups of ${workgroupSize}`,
    workgroupSize,
    vectors,
    atOnce,
  })
  if (target.class === 'gpu') return [make(64, 1, 1), make(256, 1, 1), make(256, 4, 4)]
  const size = target.subgroupSize ?? 8
  return [make(size, 256, 1), make(size, 256, 4), make(size, 2048, 4)]
}

async function copyKernel(device: Device, shape: CopyShape): Promise<PeakKernel> {
  const { workgroupSize, vectors, atOnce } = shape
  const most = Math.min(device.limits.maxStorageBufferBindingSize, device.limits.maxBufferSize)
  const chunk = workgroupSize * vectors * 16
  const bytes = Math.floor(Math.min(copyBytes, most) / chunk) * chunk
  const places = Array.from({ length: atOnce }, (_, i) => `first + ${i * workgroupSize}u`)
  const kernel = dispatch({
    label: `peak copy/${shape.name}`,
    bindings: [reads('source', input(0), 'vec4f'), writes('result', output(0), 'vec4f')],
    uniforms: { steps: vectors / atOnce },
    workgroupSize,
    workgroups: bytes / chunk,
    body: `
  if (group >= groups) { return; }
  var first = group * ${workgroupSize * vectors}u + lane;
  for (var step = 0u; step < u.steps; step++) {
${places.map((place, i) => `    let v${i} = source[${place}];`).join('\n')}
${places.map((place, i) => `    result[${place}] = v${i};`).join('\n')}
    first += ${workgroupSize * atOnce}u;
  }`,
  })
  const source = device.allocate(bytes, 'peak source')
  const result = device.allocate(bytes, 'peak result')
  const marks = [0, Math.floor(bytes / 8) * 4, bytes - 4]
  marks.forEach((offset, i) => {
    device.write({ buffer: source, offset, bytes: 4 }, Float32Array.of(i + 1))
  })
  return bound(device, shape.name, kernel, {
    input: [source],
    output: [result],
    work: 2 * bytes,
    async verify() {
      const copied = await device.readAll(marks.map((offset) => ({ buffer: result, offset, bytes: 4 })))
      copied.forEach((word, i) => {
        const [actual] = new Float32Array(word)
        if (actual !== i + 1) throw new WrongResult(`${kernel.label}: byte ${marks[i]} was not copied`)
      })
    },
  })
}

/** Binds a kernel to its buffers and takes ownership of them. */
async function bound(
  device: Device,
  name: string,
  { bindings, ...kernel }: Dispatch,
  operands: {
    readonly input: readonly DeviceBuffer[]
    readonly output: readonly DeviceBuffer[]
    readonly work: number
    verify(): Promise<void>
  },
): Promise<PeakKernel> {
  const pools = { ...operands, scratch: [] }
  const release = (): void => {
    for (const buffer of [...operands.input, ...operands.output]) buffer.dispose()
  }
  try {
    const slices = bindings.map(({ operand }) => {
      const buffer = pools[operand.role][operand.index]
      if (buffer === undefined) throw new RangeError(`${kernel.label}: no ${operand.role} ${operand.index}`)
      return buffer.slice()
    })
    const access = bindings.map((binding) => binding.access)
    const { commands, dispose } = await bindCommands(device, [{ ...kernel, access, slices }], kernel.label)
    return {
      name,
      work: operands.work,
      maxRepeats: 1000,
      run: async (repeats) => {
        device.submitNow(commands, repeats)
        await device.idle()
      },
      verify: () => operands.verify(),
      dispose: () => {
        dispose()
        release()
      },
    }
  } catch (error) {
    release()
    throw error
  }
}
