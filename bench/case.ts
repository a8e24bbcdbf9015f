/**
 * What a benchmark knows of a case: how to open it on a device, time it, and verify what it has computed. The kernels
 * are listed in cases.ts, whole training steps in lenet.ts.
 */

import type { Device } from '../src/gpu/device.ts'
import type { KernelTask } from '../src/graph/plan/choice.ts'
import { kernelTask } from '../src/graph/plan/choice.ts'
import type { DType, Family, Target } from '../src/kernels/kernel.ts'
import { planKernel } from '../src/kernels/kernel.ts'
import { CaseInputs, KernelRun, verifyByDefinition, verifyEqual, WrongResult } from './kernel-run.ts'
import type { Subject } from './measure.ts'
import type { Definition } from './reference.ts'
import type { TensorFlow, TensorFlowSide, TensorFlowWork } from './tensorflow.ts'

/** What a case is measured against: the adapter's GFLOP/s or its GB/s. */
export type Bound = 'arithmetic' | 'memory'

export interface BenchCase {
  readonly name: string
  readonly bound: Bound
  /** Names of the variants that can do it, the plain one first. */
  variants(target: Target): readonly string[]
  preferred(target: Target): string
  /** What tuning needs to know of a single kernel. Undefined for what tuning leaves alone: updates in place, whole steps. */
  task?(target: Target): KernelTask | undefined
  /** Puts everything on the device. Throws 'limit' or 'device' where the adapter refuses it; nothing stays allocated then. */
  open(device: Device, target: Target, variant: string): Promise<OpenCase>
}

/** A case on a device: everything bound, ready to be timed. */
export interface OpenCase extends Subject {
  /** Says which variant it is, for people and for comparisons. */
  readonly variant: string
  /** Floating-point operations of one repeat; 0 where none are worth counting. */
  readonly flops: number
  /** Bytes that one repeat has to move at least. */
  readonly bytes: number
  /** Images that one repeat works off, where that is what people ask for. */
  readonly imagesPerRepeat?: number
  /** Said below the table's line. */
  readonly notes?: readonly string[]
  /** One repeat by the device's own clock, in ms. */
  onDevice(repeats: number): Promise<number>
  /** Throws WrongResult where what the runs so far left behind is wrong. */
  verify(): Promise<void>
  /** The same work in TensorFlow.js, its results compared with these. Throws what it cannot do. Call it in `side.scoped`. */
  rival(side: TensorFlowSide): Promise<Subject>
  dispose(): void
}

export type HostNumbers = Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>

/** |actual - expected| <= atol + rtol * |expected| */
export interface Tolerance {
  readonly rtol: number
  readonly atol: number
}

export interface ExpectedOutput {
  readonly dtype: 'f32' | 'u32'
  readonly length: number
  /** What an output that is updated in place starts from; it is then verified after a single run. */
  readonly initial?: HostNumbers
  /** The result by definition, in float64. */
  readonly expected: Definition
}

/** The numbers of a kernel's case: made when it runs, from a seed of its own. */
export interface CaseData {
  readonly inputs: readonly HostNumbers[]
  readonly outputs: readonly ExpectedOutput[]
  readonly tolerance: Tolerance
  /** Bytes that have to be moved at least, where that is not every input and output once. */
  readonly traffic?: number
  /** The same work on the same numbers; its result is compared with the first output. */
  readonly tensorflow: (tf: TensorFlow) => TensorFlowWork
}

/** A case of one kernel family at one key. */
export function kernelCase<Key extends object>(
  name: string,
  bound: Bound,
  family: Family<Key>,
  key: Key,
  makeData: (key: Key) => CaseData,
): BenchCase {
  const variants = (target: Target): string[] =>
    family.variants.filter((variant) => variant.supports(key, target)).map((variant) => variant.name)
  return {
    name,
    bound,
    variants,
    preferred: (target) => family.prefer(key, target),
    task(target) {
      if (variants(target).length < 2) return undefined
      const { inputs, outputs } = makeData(key)
      if (outputs.some(({ initial }) => initial !== undefined)) return undefined
      const types = {
        inputs: inputs.map((numbers) => ({ shape: [numbers.length], dtype: dtypeOf(numbers) })),
        outputs: outputs.map(({ dtype, length }) => ({ shape: [length], dtype })),
      }
      return kernelTask(family, key, target, types)
    },
    async open(device, target, variant) {
      const data = makeData(key)
      const inputs = new CaseInputs(device, data)
      try {
        const plan = planKernel(family, key, target, variant)
        const run = await KernelRun.create(device, plan, data, inputs)
        const [plain = variant] = variants(target)
        const plainResults = async (): Promise<HostNumbers[]> => {
          const plainRun = await KernelRun.create(device, planKernel(family, key, target, plain), data, inputs)
          try {
            await plainRun.run(1)
            return await plainRun.results()
          } finally {
            plainRun.dispose()
          }
        }
        return {
          variant,
          flops: plan.flops,
          bytes: leastTraffic(data),
          maxRepeats: run.maxRepeats,
          run: (repeats) => run.run(repeats),
          onDevice: (repeats) => run.onDevice(repeats),
          async verify() {
            const results = await run.results()
            verifyByDefinition(`${name}, ${variant}`, data, results)
            if (plain === variant) return
            const expected = await plainResults()
            results.forEach((result, i) => {
              verifyEqual(`${name}, ${variant} against ${plain}, output ${i}`, data.tolerance, result, expected[i])
            })
          },
          async rival(side) {
            const work = data.tensorflow(side.tf)
            const theirs = await side.firstResult(work)
            await run.run(1)
            const [ours] = await run.results()
            verifyRival(data.tolerance, ours, theirs)
            return side.subject(work)
          },
          dispose() {
            run.dispose()
            inputs.dispose()
          },
        }
      } catch (error) {
        inputs.dispose()
        throw error
      }
    },
  }
}

function dtypeOf(numbers: HostNumbers): DType {
  if (numbers instanceof Float32Array) return 'f32'
  return numbers instanceof Uint32Array ? 'u32' : 'u8'
}

/** Throws WrongResult where TensorFlow.js' result is another one: both sides round, so twice the tolerance is granted. */
function verifyRival(tolerance: Tolerance, ours: HostNumbers | undefined, theirs: Float32Array<ArrayBuffer>): void {
  const wider = { rtol: 2 * tolerance.rtol, atol: 2 * tolerance.atol }
  try {
    verifyEqual('its result', wider, theirs, ours)
  } catch (error) {
    throw error instanceof WrongResult ? new Error(error.message) : error
  }
}

/** Every input read once, every output written once, and read if it is updated. */
function leastTraffic(data: CaseData): number {
  if (data.traffic !== undefined) return data.traffic
  const read = data.inputs.reduce((sum, numbers) => sum + numbers.byteLength, 0)
  const written = data.outputs.reduce((sum, { length, initial }) => sum + length * 4 * (initial ? 2 : 1), 0)
  return read + written
}
