/** Which variants of a kernel are worth measuring on a device, and in which order. */

import type { Device } from '../../gpu/device.ts'
import type { KernelPlan } from '../../kernels/kernel.ts'
import { elementCount } from '../../kernels/kernel.ts'
import type { KernelTask } from '../plan/choice.ts'

/** The most variants measured per kernel, without those that differ from another one in a number only. */
const mostCandidates = 8
/**
 * CPU: the most operations for which the reference variant is measured and used for comparison. With more, it would take
 * a quarter of a second at 1 GFLOP/s (a naive kernel on two cores). The preferred variant, which every test compares with
 * the reference, then takes its place.
 */
const referenceFlops = 2.5e8
/**
 * GPU: the most numbers that a lane of the reference variant takes one after the other, as it computes one element each.
 * At 0.3 us a load, 20 ms: one such dispatch cannot be interrupted, and with more steps another variant always wins.
 */
const referenceSteps = 2 ** 16

export interface Candidates {
  /** The preferred variant, then the reference variant if it is fast enough, then others. All plans differ. */
  readonly names: readonly string[]
  /** The reference variant, if it is one of them. */
  readonly reference: string | undefined
  /** Variants that differ in a number only from the one whose name comes before the slash: `tiled64/128groups`. */
  readonly finer: readonly string[]
}

export function candidatesOf(task: KernelTask, device: Device): Candidates {
  const { candidates, preferred } = task
  const isCpu = device.facts.class === 'cpu'
  const plans = new Map(candidates.map((name) => [name, task.plan(name)]))
  const [first = preferred] = candidates
  const reference = first === preferred || isQuick(task, plans.get(first), isCpu) ? first : undefined
  const seen = new Set<string>()
  const isNew = (name: string): boolean => {
    const text = textOf(plans.get(name))
    if (seen.has(text)) return false
    seen.add(text)
    return true
  }
  const wanted = [preferred, reference, ...candidates.filter((name) => name !== first)].filter(
    (name): name is string =>
      name !== undefined && (name === preferred || name === reference || !(isCpu && hasBarriers(plans.get(name)))),
  )
  const different = [...new Set(wanted)].filter(isNew)
  const isFiner = (name: string): boolean =>
    name !== preferred && candidates.includes(baseOf(name)) && name.includes('/')
  return {
    names: different.filter((name) => !isFiner(name)).slice(0, mostCandidates),
    reference,
    finer: different.filter(isFiner),
  }
}

/** The variant that a finer one is made from. */
export function baseOf(name: string): string {
  return name.split('/')[0] ?? name
}

function isQuick(task: KernelTask, plan: KernelPlan | undefined, isCpu: boolean): boolean {
  const flops = plan?.flops ?? 0
  if (isCpu) return flops <= referenceFlops
  const count = (types: KernelTask['inputs']): number => types.reduce((sum, { shape }) => sum + elementCount(shape), 0)
  return Math.max(flops, count(task.inputs)) <= referenceSteps * Math.max(1, count(task.outputs))
}

/**
 * Whether a plan uses barriers. They make a CPU keep the state of every lane: on lavapipe, the tiled kernels for GPUs
 * take 0.6 to 1.4 s to compile and run four times as long as kernels without barriers.
 */
function hasBarriers(plan: KernelPlan | undefined): boolean {
  return plan?.dispatches.some(({ wgsl }) => wgsl.includes('workgroupBarrier')) ?? false
}

/** Equal for plans that do the same. */
function textOf(plan: KernelPlan | undefined): string {
  return JSON.stringify(plan?.dispatches.map(({ wgsl, uniforms, workgroups }) => [wgsl, [...uniforms], workgroups]))
}
