/**
 * The description of a kernel, independent of a device: WGSL text, operand bindings, the numbers in its uniforms, and
 * its number of workgroups. Every operator family in this folder turns a *key* (shapes and attributes) and a *target*
 * (properties of the adapter) into a *plan* (one or more dispatches), in one of several *variants*.
 *
 * Promises every kernel keeps:
 * - any shape works, whatever the tile; out-of-range lanes write nothing;
 * - no float atomics, reductions in a fixed order: the same plan gives the same bits every time;
 * - no dispatch has more than 65,535 workgroups in a dimension;
 * - a constant or a uniform bounds every loop, and an index that comes from data is compared with its range: a device may
 *   leave out WebGPU's own checks (test/bounds-checks.test.ts);
 * - an operand is bound either read-only or read-write, never both in one dispatch;
 * - operands start at multiples of 256 bytes and may be read and written up to the next multiple of 16 bytes, so that
 *   `array<vec4f>` views are allowed where the kernel masks what lies beyond the end;
 * - a variable in a loop is initialised explicitly or written before it is read: without an initializer, an array was
 *   zeroed in the first pass only (webgpu 0.6.2 on lavapipe).
 */

import { WeftgradError } from '../errors.ts'
import { aFlag, aNumber, anArray, anObject, aString, checkOptions } from '../options.ts'
import { subgroupText } from '../subgroup-size.ts'
import { at } from './extents.ts'

/** Extents from the outermost axis to the innermost; [] for a single number. Numbers are row-major. */
export type Shape = readonly number[]
/**
 * The type of a tensor's elements. `u8` tensors are data sets: four values packed into a u32, read by batch gathers
 * only. `f16` tensors are kernels of frozen networks in half precision, read by convolutions and dense layers only.
 */
export type DType = 'f32' | 'u32' | 'u8' | 'f16'

/** The properties of the adapter that a plan may depend on, besides shapes and attributes. */
export interface Target {
  /** `cpu`: a processor running Vulkan (lavapipe, SwiftShader); `gpu`: everything else. */
  readonly class: 'cpu' | 'gpu'
  /** Lanes that run in lockstep; undefined if subgroup operations are missing or the size is not fixed. */
  readonly subgroupSize: number | undefined
  /** Whether kernels must ask for this size, because the adapter has several. */
  readonly pinsSubgroups?: boolean
  /** Whether blocks of workgroup memory may hold float16: the adapter can, and the user wants it. */
  readonly halfPrecision?: boolean
  /** Whether only weftgrad's own kernels may run, because WebGPU's bounds checks are left out. */
  readonly ownKernelsOnly?: boolean
  /** The most lanes in a workgroup: at least 256. */
  readonly maxWorkgroupSize: number
  /** The most bytes of `var<workgroup>` in a kernel: at least 16,384. */
  readonly maxWorkgroupStorageBytes: number
}

/** The size of a subgroup, for kernels that need it. Throws RangeError if the adapter has no fixed size. */
export function subgroupSizeOf({ subgroupSize }: Target): number {
  if (subgroupSize === undefined) throw new RangeError('no subgroups')
  return subgroupSize
}

/** The target of a binding: an operand, a result, or scratch memory of the plan, by number. */
export type Operand =
  | {
      /** An operand that the operator reads. */
      readonly role: 'input'
      /** Number from 0. */
      readonly index: number
    }
  | {
      /** A result of the operator. */
      readonly role: 'output'
      /** Number from 0. */
      readonly index: number
    }
  | {
      /** Memory that passes data between the dispatches of a plan. */
      readonly role: 'scratch'
      /** Index in `KernelPlan.scratchBytes`. */
      readonly index: number
    }

/** A storage operand of a kernel. */
export interface Binding {
  /** The name the WGSL body uses. */
  readonly name: string
  /** The element type of the bound `array<...>`: `f32`, `vec4f`, `u32`, `atomic<u32>` ... */
  readonly element: string
  /** The access mode in WGSL's `var<storage, ...>`. */
  readonly access: 'read' | 'read_write'
  /** The memory it refers to. */
  readonly operand: Operand
}

/** A uniform's value; plain numbers are u32. */
export type UniformValue =
  | number
  | {
      /** A float. */
      readonly f32: number
    }
  | {
      /** A signed whole number. */
      readonly i32: number
    }

/** One run of one kernel: its shader, its bindings, and its workgroups. */
export interface Dispatch {
  /** Names the kernel in errors, captures and benchmarks: `conv2d.filterGradient/splitK4`. */
  readonly label: string
  /** The whole shader module; equal text means an equal pipeline. */
  readonly wgsl: string
  /** Storage operands, at bindings 1, 2, ... of group 0; uniforms, if any, are at binding 0. */
  readonly bindings: readonly Binding[]
  /** The uniform block's bytes, as u32 words; empty if the kernel has none. */
  readonly uniforms: Uint32Array
  /**
   * The uniform word with the number of the first workgroup, 0 as a rule: a dispatch that takes long is cut into several.
   */
  readonly firstGroupWord?: number
  /** Floating-point operations, if they are not the plan's: of a sum of partial results, which is little work. */
  readonly flops?: number
  /** Workgroups in x, y and z, 65,535 at most in each. */
  readonly workgroups: readonly [number, number, number]
  /**
   * Set on a last dispatch that only adds up the partial results in scratch 0: a program may drop it and add them up
   * itself, together with other work. Its targets are outputs.
   * @internal
   */
  readonly splitSum?: SplitSum<{ readonly output: number }>
}

/**
 * A sum that was split over workgroups: partial results, one after the other, still to be added up in order. `Place` is
 * the destination of a part of the sum: an output in a plan, a buffer in a program, a position in the gradients in a
 * training step.
 */
export interface SplitSum<Place> {
  /** Number of partial results. */
  readonly splits: number
  /** Floats in each of them. */
  readonly count: number
  /** Destinations of the sum's parts: `count` floats each, starting at `from` in the sum. */
  readonly targets: readonly (Place & { readonly from: number; readonly count: number })[]
}

/** The dispatches that compute one operator. */
export interface KernelPlan {
  /** The name of the variant, for `planOf` and benchmarks. */
  readonly variant: string
  /** The dispatches in order; a later one sees what earlier ones wrote. */
  readonly dispatches: readonly Dispatch[]
  /**
   * Bytes of each piece of scratch memory, which bindings name by {@link scratch}. Its initial contents are undefined.
   */
  readonly scratchBytes: readonly number[]
  /** Floating-point operations of the plan, for benchmarks. Zero if memory traffic dominates. */
  readonly flops: number
}

export interface Variant<Key, Name extends string = string> {
  readonly name: Name
  supports(key: Key, target: Target): boolean
  plan(key: Key, target: Target): KernelPlan
}

/**
 * One operator's kernels. The first variant is called `plain`: it runs on every adapter, and the others are checked
 * against it. (Kernels that fuse convolution and pooling have no `plain`: without them, the graph keeps the two
 * separate.)
 */
export interface Family<Key, Name extends string = string> {
  readonly name: string
  readonly variants: readonly Variant<Key, Name>[]
  /** Returns the variant to use if nothing was measured. It must support the key. */
  prefer(key: Key, target: Target): Name
}

/**
 * Makes the `supports` of a family's variants from what each can do. `plainest` holds the optional fields of a key, its
 * features, with the values that every variant supports; a variant states for each feature whether it supports other
 * values, and any other condition. A new field of the key compiles only once it has a plainest value and every variant
 * states whether it supports it.
 */
export function capabilities<Key, Feature extends keyof Key>(plainest: Required<Pick<Key, Feature>>) {
  return (can: Readonly<Record<Feature, boolean>>, fits: (key: Key, target: Target) => boolean = () => true) =>
    (key: Key, target: Target): boolean => {
      for (const feature in plainest)
        if (!can[feature] && String(key[feature] ?? plainest[feature]) !== String(plainest[feature])) return false
      return fits(key, target)
    }
}

/** Plans `key` by the named variant, or by the family's preference. Throws 'argument' for an unsupported variant. */
export function planKernel<Key>(family: Family<Key>, key: Key, target: Target, variant?: string): KernelPlan {
  const name = variant ?? family.prefer(key, target)
  const chosen = family.variants.find((candidate) => candidate.name === name)
  if (chosen === undefined || !chosen.supports(key, target)) {
    const usable = family.variants.filter((candidate) => candidate.supports(key, target)).map((v) => v.name)
    throw new WeftgradError(
      'argument',
      `${family.name} has no variant ${name} for these shapes on this adapter; use one of: ${usable.join(', ')}.`,
      { family: family.name, variant: name, key },
    )
  }
  return chosen.plan(key, target)
}

/** Operations of one of a plan's dispatches: all of the plan's, unless it says otherwise. */
export function flopsOf(plan: KernelPlan, dispatch: Dispatch): number {
  return dispatch.flops ?? plan.flops
}

/**
 * The dispatches of a plan that is a part of another one: its operands are elsewhere, and its scratch memory begins at
 * number `firstScratch`. A `splitSum` stays if outputs and scratch memory keep their numbers.
 */
export function placed(
  plan: KernelPlan,
  operands: Readonly<Record<'input' | 'output', readonly Operand[]>>,
  firstScratch: number,
): Dispatch[] {
  const keepsNumbers = firstScratch === 0 && operands.output.every((o, i) => o.role === 'output' && o.index === i)
  const place = ({ role, index }: Operand): Operand =>
    role === 'scratch' ? scratch(firstScratch + index) : at(operands[role], index)
  return plan.dispatches.map(({ splitSum, ...own }) => ({
    ...own,
    ...(splitSum !== undefined && keepsNumbers ? { splitSum } : {}),
    flops: flopsOf(plan, own),
    bindings: own.bindings.map((binding) => ({ ...binding, operand: place(binding.operand) })),
  }))
}

/** WebGPU binds at least this many bytes at once. */
export const surelyBoundBytes = 128 * 2 ** 20

/** The operand at this position, from 0: for {@link reads}. */
export const input = (index: number): Operand => ({ role: 'input', index })
/** The result at this position, from 0: for {@link writes}, and for later dispatches that read it. */
export const output = (index: number): Operand => ({ role: 'output', index })
/**
 * The scratch memory at this position of `KernelPlan.scratchBytes`, from 0: data that one dispatch passes to the next.
 */
export const scratch = (index: number): Operand => ({ role: 'scratch', index })

/**
 * Binds an operand read-only: `var<storage, read> name: array<element>`. An element may be a view, such as `vec4f`:
 * memory starts at multiples of 256 bytes and may be read up to the next multiple of 16 bytes; bytes beyond the end are
 * undefined.
 */
export const reads = (name: string, operand: Operand, element = 'f32'): Binding => ({
  name,
  element,
  access: 'read',
  operand,
})
/**
 * Binds a result or scratch memory read-write: `var<storage, read_write> name: array<element>`. A kernel writes every
 * element of a result. A dispatch must not read and write the same operand through two bindings.
 */
export const writes = (name: string, operand: Operand, element = 'f32'): Binding => ({
  name,
  element,
  access: 'read_write',
  operand,
})

/** The source of a kernel, which {@link dispatch} completes. */
export interface KernelText {
  /** Names the kernel in errors, captures and benchmarks: `operator/variant`. */
  readonly label: string
  /**
   * Storage operands, by {@link reads} and {@link writes}; the body uses their names. Up to 8 work on every adapter.
   */
  readonly bindings: readonly Binding[]
  /**
   * Numbers the body reads as `u.<name>`; the names are the keys. A plain number is a u32; use `{ f32: x }` or
   * `{ i32: x }` for other types. Put sizes here rather than into the text: equal text is compiled once.
   */
  readonly uniforms?: Readonly<Record<string, UniformValue>>
  /** Lanes in a workgroup. Up to 256 work on every adapter. */
  readonly workgroupSize: number
  /** Total number of workgroups; folded into x and y if there are too many for one dimension. */
  readonly workgroups: number
  /**
   * The target enables WGSL's subgroup operations, with subgroups of its `subgroupSize`, which must be a number and
   * divide `workgroupSize`.
   */
  readonly subgroups?: Target | undefined
  /** True enables WGSL's `f16`; plan it only where `Target.halfPrecision` is true. */
  readonly f16?: boolean | undefined
  /** Functions, constants, and workgroup variables at module scope. */
  readonly declarations?: string
  /**
   * The entry point's statements. In scope: `lane` (local invocation index), `group` (linear workgroup index; may
   * exceed `workgroups` because of the folding: compare it with `groups`), `groups` (the requested number), `index`
   * (group * workgroupSize + lane).
   */
  readonly body: string
}

const maxWorkgroupsPerDimension = 65535

/**
 * Puts declarations and entry point around a kernel's body. The WGSL is compiled when a program uses it; an error in it
 * then throws WeftgradError 'device' with the line.
 */
export function dispatch(text: KernelText): Dispatch {
  checkOptions('dispatch', text, {
    ...{ label: aString, bindings: anArray, uniforms: anObject, workgroupSize: aNumber, workgroups: aNumber },
    ...{ subgroups: anObject, f16: aFlag, declarations: aString, body: aString },
  })
  const uniforms = { groups: text.workgroups, firstGroup: 0, ...text.uniforms }
  const names = Object.keys(uniforms)
  const fields = Object.entries(uniforms).map(([name, value]) => `  ${name}: ${uniformType(value)},`)
  const words = new Uint32Array(Math.ceil(names.length / 4) * 4)
  Object.values(uniforms).forEach((value, i) => {
    words[i] = uniformBits(value)
  })
  const storage = text.bindings.map(
    (b, i) => `@group(0) @binding(${i + 1}) var<storage, ${b.access}> ${b.name}: array<${b.element}>;`,
  )
  const subgroups = text.subgroups && enabledSubgroups(text.subgroups, text)
  const wgsl = `${text.f16 ? 'enable f16;\n' : ''}${subgroups?.enable ?? ''}struct Uniforms {
${fields.join('\n')}
}
@group(0) @binding(0) var<uniform> u: Uniforms;
${storage.join('\n')}
${text.declarations ?? ''}
@compute @workgroup_size(${text.workgroupSize})${subgroups?.attribute ?? ''}
fn main(
  @builtin(workgroup_id) workgroupId: vec3u,
  @builtin(num_workgroups) workgroupCount: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let groups = u.groups;
  let group = u.firstGroup + workgroupId.y * workgroupCount.x + workgroupId.x;
  let index = group * ${text.workgroupSize}u + lane;
${text.body}
}
`
  const y = Math.ceil(text.workgroups / maxWorkgroupsPerDimension)
  const x = Math.ceil(text.workgroups / Math.max(1, y))
  const firstGroupWord = names.indexOf('firstGroup')
  return { label: text.label, wgsl, bindings: text.bindings, uniforms: words, firstGroupWord, workgroups: [x, y, 1] }
}

function enabledSubgroups(target: Target, { label, workgroupSize }: KernelText): ReturnType<typeof subgroupText> {
  const size = subgroupSizeOf(target)
  if (workgroupSize % size !== 0)
    throw new RangeError(`${label}: workgroups of ${workgroupSize} lanes do not hold whole subgroups of ${size}`)
  return subgroupText({ size, pinned: target.pinsSubgroups === true })
}

function uniformType(value: UniformValue): 'u32' | 'i32' | 'f32' {
  if (typeof value === 'number') return 'u32'
  return 'f32' in value ? 'f32' : 'i32'
}

const conversion = new DataView(new ArrayBuffer(4))

function uniformBits(value: UniformValue): number {
  if (typeof value === 'number') return value
  if ('f32' in value) conversion.setFloat32(0, value.f32)
  else conversion.setInt32(0, value.i32)
  return conversion.getUint32(0)
}

export function elementCount(shape: Shape): number {
  return shape.reduce((product, extent) => product * extent, 1)
}

/** Row-major strides in elements. */
export function stridesOf(shape: Shape): number[] {
  const strides = new Array<number>(shape.length).fill(1)
  for (let axis = shape.length - 2; axis >= 0; axis--) {
    strides[axis] = at(strides, axis + 1) * at(shape, axis + 1)
  }
  return strides
}
