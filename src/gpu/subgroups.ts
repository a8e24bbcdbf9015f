/**
 * Finds out how a device's subgroups work by running a kernel. Adapters may report a wrong size (WebKit was said to
 * report 32 on every Metal adapter), and a kernel that relies on a wrong size gives wrong numbers without an error.
 */

import { subgroupText } from '../subgroup-size.ts'
import { bindCommands } from './bind.ts'
import type { Device, Subgroups } from './device.ts'

/** The native size of most GPUs: preferred where an adapter has a range. */
const usualSize = 32
/** Enough workgroups that the device runs several at once. */
const workgroups = 16
/** Values that each lane of the probe leaves. */
const valuesPerLane = 4

/**
 * The subgroups that kernels may rely on. Where an adapter has a range of sizes, shaders must ask for one of them, which
 * takes the feature `subgroup-size-control`.
 */
export async function findSubgroups(device: Device): Promise<Subgroups> {
  const { features } = device.gpu
  const { subgroupMinSize: least, subgroupMaxSize: most } = device.info
  if (!features.has('subgroups')) return none('The adapter has no subgroups.')
  const range = `${least} to ${most}`
  const pinned = least !== most
  if (pinned && !features.has(sizeControl))
    return none(`Subgroups have ${range} lanes, and this WebGPU cannot fix their size (no ${sizeControl}).`)
  let problem = ''
  for (const size of sizesFrom(least, most)) {
    problem = await problemOf(device, size, pinned)
    if (problem === '') return { size, pinned, problem: undefined }
  }
  return none(problem)
}

/** The feature by which a shader fixes its subgroup size. */
export const sizeControl = 'subgroup-size-control' as GPUFeatureName

/** The powers of two in a range, the nearest to the usual size first. */
function sizesFrom(least: number, most: number): number[] {
  const sizes: number[] = []
  for (let size = least; size <= most; size *= 2) sizes.push(size)
  const distance = (size: number): number => Math.abs(Math.log2(size / usualSize))
  return sizes.sort((a, b) => distance(a) - distance(b))
}

const none = (problem: string): Subgroups => ({ size: undefined, pinned: false, problem })

/** Runs workgroups of `size` lanes, as kernels do. Returns what is not as kernels expect, or an empty text. */
async function problemOf(device: Device, size: number, pinned: boolean): Promise<string> {
  const { enable, attribute } = subgroupText({ size, pinned })
  const lanes = workgroups * size
  using seen = device.allocate(lanes * valuesPerLane * 4, 'subgroups')
  const probe = {
    label: 'subgroups',
    access: ['read_write'] as const,
    uniforms: new Uint32Array(4),
    workgroups: [workgroups, 1, 1] as const,
    slices: [seen.slice()],
    wgsl: `${enable}
@group(0) @binding(0) var<uniform> last: vec4u;
@group(0) @binding(1) var<storage, read_write> seen: array<vec4u>;
@compute @workgroup_size(${size})${attribute}
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_index) lane: u32,
  @builtin(subgroup_size) size: u32,
  @builtin(subgroup_invocation_id) place: u32,
) {
  let members = subgroupAdd(1u + last.x);
  let other = subgroupBroadcast(lane, ${size - 1}u);
  seen[group.x * ${size}u + lane] = vec4u(size, place, members, other);
}
`,
  }
  try {
    const bound = await bindCommands(device, [probe], 'subgroups')
    try {
      device.submitNow(bound.commands)
      const words = new Uint32Array(await device.read(seen.slice()))
      for (let lane = 0; lane < lanes; lane++) {
        const [reported, place, members, other] = words.subarray(lane * valuesPerLane)
        if (reported !== size || members !== size)
          return `The adapter reports subgroups of ${size} lanes, but a subgroup ran ${members} of ${reported}.`
        if (place !== lane % size || other !== size - 1) return 'Lanes are not numbered in order within subgroups.'
      }
      return ''
    } finally {
      bound.dispose()
    }
  } catch (error) {
    if (!device.usable) throw error
    return `A kernel with subgroups of ${size} lanes does not compile: ${String(error)}`
  }
}
