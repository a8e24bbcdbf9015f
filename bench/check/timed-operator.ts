/** Times one matmul or convolution with the adapter's preferred kernel and with the tuned one, in turn. */

import { keep } from '../../src/autograd/tensors.ts'
import type { Device } from '../../src/gpu/device.ts'
import type { Shape } from '../../src/graph/node.ts'
import type { VariantTable } from '../../src/graph/plan/choice.ts'
import { elementCount } from '../../src/kernels/kernel.ts'
import { type KeptTensor, type Tensor, tensor } from '../../src/operators/tensor.ts'
import type { Array64 } from '../../test/reference/array64.ts'
import { array64 } from '../../test/reference/array64.ts'
import { rounded, short } from '../report.ts'
import type { PartWork } from './part.ts'
import type { Timing, VariantTimes } from './workload.ts'
import { madeUp, timedWithTuned, timeOf, tunedKernels, variantTimes, Workload, wrongPlaces } from './workload.ts'

export interface TimedOperator {
  readonly name: string
  /** Two operations per multiply-add. */
  readonly flops: number
  readonly shapes: readonly [Shape, Shape]
  /** The number of products summed in each number of the result. */
  readonly terms: number
  trace(a: Tensor, b: Tensor): Tensor
  /** The result in float64. */
  readonly reference: (a: Array64, b: Array64) => Array64
}

export interface OperatorRow {
  readonly name: string
  readonly flops: number
  readonly shapes: readonly [Shape, Shape]
  readonly preferred: Timing
  /** GFLOP/s, by the device's clock if it has one. */
  readonly gflops: number
  /** Absent if tuning chose the preferred kernel. */
  readonly tuned?: Timing
  readonly tunedGflops?: number
  readonly kernels: readonly VariantTimes[]
}

/** Roughly how often an operator runs while it is tuned, timed and compared. */
const runsOfRow = 30

/**
 * Times operators in turn while there is time for the next, and compares each result with its definition. Starts with
 * the one that has the least work: its rate predicts the time of the others.
 */
export async function timeOperators(
  work: PartWork,
  operators: readonly TimedOperator[],
  onRow: (row: OperatorRow) => void,
): Promise<void> {
  const least = operators.reduce((a, b) => (b.flops < a.flops ? b : a))
  let gflops = Number.POSITIVE_INFINITY
  const queue = [least, ...operators.filter((one) => one !== least)]
  for (const [i, operator] of queue.entries()) {
    if (work.remaining < 100) {
      work.left(`${queue.length - i} of ${queue.length}: out of time.`)
      return
    }
    const seconds = 0.1 + (runsOfRow * operator.flops) / (1e9 * gflops)
    await work.attempt(operator.name, seconds, async (device) => {
      const row = await timeOperator(work, device, operator)
      gflops = Math.max(row.gflops, row.tunedGflops ?? 0)
      onRow(row)
    })
  }
}

async function timeOperator(work: PartWork, device: Device, operator: TimedOperator): Promise<OperatorRow> {
  const { name, flops, shapes, terms } = operator
  const left = madeUp(elementCount(shapes[0]), 0)
  const right = madeUp(elementCount(shapes[1]), 1)
  const operands = [tensor(left, [...shapes[0]]), tensor(right, [...shapes[1]])]
  const [a, b] = (await keep(operands, { device })) as [KeptTensor, KeptTensor]
  const workloads: Workload[] = []
  try {
    const y = operator.trace(a, b)
    const kernels = await tunedKernels(device, y, Math.max(200, Math.min(2000, work.remaining / 8)))
    workloads.push(await Workload.create(device, y, name))
    const openTuned = (variants: VariantTable) => Workload.create(device, y, `${name}, tuned`, variants)
    const [preferred, tuned] = await timedWithTuned(work, name, kernels, workloads, openTuned, 1 / 16)
    const expected = operator.reference(array64(shapes[0], left), array64(shapes[1], right))
    for (const workload of workloads) {
      const wrong = wrongPlaces(await workload.result(), expected, terms)
      if (wrong !== undefined) work.problem(`${workload.label}: ${wrong}`)
    }
    return {
      name,
      flops,
      shapes,
      preferred,
      gflops: rate(flops, preferred),
      ...(tuned === undefined ? {} : { tuned, tunedGflops: rate(flops, tuned) }),
      kernels: kernels.map(variantTimes),
    }
  } finally {
    for (const resource of [...workloads, a, b]) resource.dispose()
  }
}

function rate(flops: number, timing: Timing): number {
  return rounded(flops / timeOf(timing) / 1e6)
}

/** A Markdown table of the rows, with PyTorch's times if they are known. */
export function operatorTable(
  rows: readonly OperatorRow[],
  pytorch: Readonly<Record<string, Readonly<Record<string, number>>>> | undefined,
): readonly string[] {
  const theirs = pytorch === undefined ? [] : ['fp32', 'tf32']
  const time = (timing: Timing): string => short(timeOf(timing))
  return [
    `| work | GFLOP | preferred ms | GFLOP/s | tuned ms | GFLOP/s | kernel |${theirs.map((how) => ` PyTorch ${how} ms |`).join('')}`,
    `|---|---:|---:|---:|---:|---:|---|${theirs.map(() => '---:|').join('')}`,
    ...rows.map((row) => {
      const cells = [
        row.name,
        short(row.flops / 1e9),
        time(row.preferred),
        short(row.gflops),
        row.tuned === undefined ? '' : time(row.tuned),
        row.tunedGflops === undefined ? '' : short(row.tunedGflops),
        row.kernels.map(({ chosen }) => chosen).join(', '),
        ...theirs.map((how) => {
          const milliseconds = pytorch?.[row.name]?.[how]
          return milliseconds === undefined ? '' : short(milliseconds)
        }),
      ]
      return `| ${cells.join(' | ')} |`
    }),
  ]
}
