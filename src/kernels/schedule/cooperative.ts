/**
 * Groups of lanes that work on one row: one lane (`plain`), one subgroup (`subgroup`), or a workgroup with shared
 * memory (`workgroup`). Such a kernel loops from `member` in steps of the group's size, and combines the lanes' results
 * with functions declared here, in a fixed order.
 *
 * On a CPU running Vulkan a barrier turns the shader into coroutines, so groups are lanes or subgroups; on a GPU a
 * whole workgroup reads neighbouring addresses together.
 */

import type { Target } from '../kernel.ts'
import { subgroupSizeOf } from '../kernel.ts'
import { plainWorkgroupSize } from './occupancy.ts'

export type CooperativeKind = 'plain' | 'subgroup' | 'workgroup'

export interface CooperativeGroup {
  readonly kind: CooperativeKind
  readonly workgroupSize: number
  /** Number of lanes that work together. */
  readonly size: number
  /** Number of groups in a workgroup. */
  readonly perWorkgroup: number
}

/** Whether the adapter supports such groups. */
export function supportsGroup(kind: CooperativeKind, target: Target): boolean {
  if (kind === 'subgroup') return target.subgroupSize !== undefined
  return kind === 'plain' || target.maxWorkgroupStorageBytes >= 1024
}

export function cooperativeGroup(kind: CooperativeKind, target: Target): CooperativeGroup {
  if (kind === 'plain') {
    const workgroupSize = plainWorkgroupSize(target)
    return { kind, workgroupSize, size: 1, perWorkgroup: workgroupSize }
  }
  const size = kind === 'subgroup' ? subgroupSizeOf(target) : Math.min(128, target.maxWorkgroupSize)
  return { kind, workgroupSize: size, size, perWorkgroup: 1 }
}

export interface Combination {
  /** The function's name; it takes a member's value and `lane`, and returns the result to every member. */
  readonly name: string
  readonly type: 'f32' | 'u32'
  readonly combine: (a: string, b: string) => string
  /** The subgroup built-in that does the same. */
  readonly builtin: 'subgroupAdd' | 'subgroupMax' | 'subgroupMin'
}

/** Declares the combining functions. They must be called in uniform control flow. */
export function groupFunctions(group: CooperativeGroup, combinations: readonly Combination[]): string {
  return combinations.map((combination) => groupFunction(group, combination)).join('\n')
}

function groupFunction({ kind, size }: CooperativeGroup, { name, type, combine, builtin }: Combination): string {
  if (kind === 'plain') return `fn ${name}(value: ${type}, lane: u32) -> ${type} { return value; }`
  if (kind === 'subgroup') return `fn ${name}(value: ${type}, lane: u32) -> ${type} { return ${builtin}(value); }`
  const shared = `${name}Shared`
  // Folds the upper part onto the lower until one value is left; the first fold takes what exceeds a power of two.
  return `var<workgroup> ${shared}: array<${type}, ${size}>;
fn ${name}(value: ${type}, lane: u32) -> ${type} {
  ${shared}[lane] = value;
  for (var extent = ${size}u; extent > 1u; extent = (extent + 1u) / 2u) {
    workgroupBarrier();
    let upper = lane + (extent + 1u) / 2u;
    if (upper < extent) {
      ${shared}[lane] = ${combine(`${shared}[lane]`, `${shared}[upper]`)};
    }
  }
  return workgroupUniformLoad(&${shared}[0]);
}`
}
