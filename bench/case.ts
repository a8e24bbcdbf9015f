/**
 * The interface of a benchmarked case: how to open it on a device, time it, and verify the results. The kernels of
 * operators come from the table of cases (operators.ts), those of training steps from training-kernels.ts, whole steps
 * from lenet.ts and whole networks from networks.ts.
 */

import type { Device } from '../src/gpu/device.ts'
import type { KernelTask } from '../src/graph/plan/choice.ts'
import type { Bound } from '../test/cases/case.ts'
import type { Tolerance } from '../test/support/compare.ts'
import type { CaseData, HostNumbers } from './case-data.ts'
import { CaseInputs, KernelRun } from './kernel-run.ts'
import type { Subject } from './measure.ts'
import type { PytorchWork } from './pytorch.ts'
import type { TensorFlowSide } from './tensorflow.ts'
import { verifyByDefinition, verifyEqual, WrongResult } from './verify.ts'

export interface BenchCase {
  readonly name: string
  readonly bound: Bound
  /** Names of the variants that support it, the plain one first. */
  variants(device: Device): readonly string[]
  preferred(device: Device): string
  /** The kernel as tuning sees it. Undefined for work that tuning skips: in-place updates, whole steps. */
  task?(device: Device): KernelTask
  /**
   * Puts everything on the device. If the adapter refuses it, throws 'limit' or 'device' and leaves nothing allocated.
   */
  open(device: Device, variant: string): Promise<OpenCase>
}

/** A case on a device: everything bound, ready to be timed. */
export interface OpenCase extends Subject {
  /** Names the variant, for people and for comparisons. */
  readonly variant: string
  /** Floating-point operations of one repeat; 0 if there are hardly any. */
  readonly flops: number
  /** The least bytes that one repeat must move. */
  readonly bytes: number
  /** Images that one repeat processes, if an image rate is meaningful. */
  readonly imagesPerRepeat?: number
  /** Printed below the table's line. */
  readonly notes?: readonly string[]
  /** The time of one repeat by the device's own clock, in ms. */
  onDevice(repeats: number): Promise<number>
  /** Verifies the results of the runs so far. Throws WrongResult. */
  verify(): Promise<void>
  /**
   * The same work in TensorFlow.js, its results compared with ours. Throws if TensorFlow.js cannot do it. Call it in
   * `side.scoped`.
   */
  rival(side: TensorFlowSide): Promise<Subject>
  /** The same work for pytorch.py, if it knows such work. */
  readonly pytorch?: PytorchWork | undefined
  dispose(): void
}

/** A kernel to time: its variants, and the numbers it works on. */
export interface TimedKernel {
  task(device: Device): KernelTask
  /** Made from its own seed, only when the case is opened. */
  data(device: Device): Promise<CaseData>
  /** Whether it updates memory in place, so that tuning skips it. */
  readonly isInPlace?: boolean
}

/** A case of one kernel at one size. */
export function kernelCase(name: string, bound: Bound, kernel: TimedKernel): BenchCase {
  const task = (device: Device): KernelTask => kernel.task(device)
  return {
    name,
    bound,
    variants: (device) => task(device).candidates,
    preferred: (device) => task(device).preferred,
    ...(kernel.isInPlace ? {} : { task }),
    async open(device, variant) {
      const { plan: planOf, candidates } = task(device)
      const data = await kernel.data(device)
      const inputs = new CaseInputs(device, data)
      try {
        const plan = planOf(variant)
        const run = await KernelRun.create(device, plan, data, inputs)
        const [plain = variant] = candidates
        const plainResults = async (): Promise<HostNumbers[]> => {
          const plainRun = await KernelRun.create(device, planOf(plain), data, inputs)
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
          ...(data.pytorch === undefined ? {} : { pytorch: data.pytorch }),
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

/** Compares TensorFlow.js' result with ours, at twice the tolerance, since both sides round. Throws if they differ. */
function verifyRival(tolerance: Tolerance, ours: HostNumbers | undefined, theirs: Float32Array<ArrayBuffer>): void {
  const wider = { rtol: 2 * tolerance.rtol, atol: 2 * tolerance.atol }
  try {
    verifyEqual('its result', wider, theirs, ours)
  } catch (error) {
    throw error instanceof WrongResult ? new Error(error.message) : error
  }
}

/** Counts every input read once, every output written once, and read if it is updated. */
function leastTraffic(data: CaseData): number {
  if (data.traffic !== undefined) return data.traffic
  const read = data.inputs.reduce((sum, numbers) => sum + numbers.byteLength, 0)
  const written = data.outputs.reduce((sum, { length, initial }) => sum + length * 4 * (initial ? 2 : 1), 0)
  return read + written
}
