/**
 * Plans a graph: turns values into a list of dispatches with every operand placed. Nothing here touches the device.
 *
 * Intermediates live in *arenas*, a few buffers in which memory is reused as soon as the last reader has run. WebGPU
 * rejects a dispatch that binds one buffer both read-only and read-write, even at disjoint ranges, so a node's results
 * go into another arena than its operands, and its scratch memory into yet another.
 */

import { sliceAlignment } from '../../gpu/alignment.ts'
import { refuseOversized } from '../../gpu/bind.ts'
import type { BufferSlice, DeviceBuffer } from '../../gpu/device.ts'
import type { DType, KernelPlan, Operand, SplitSum } from '../../kernels/kernel.ts'
import { elementCount, flopsOf } from '../../kernels/kernel.ts'
import type { LeafAttributes, Node, Storage, TensorType, Value } from '../node.ts'
import { isNode, keyOf, leafOp, outputOf, refuseHalf, shapeText, topologicalOrder } from '../node.ts'
import { planCopy } from '../rewrite/elementwise-chain.ts'
import { rewrite } from '../rewrite/rewrite.ts'
import { Arenas } from './arena.ts'
import type { Choice, ChooserOptions, KernelTask } from './choice.ts'
import { KernelChooser } from './choice.ts'

/** A value that the program must leave somewhere. */
export interface Wanted {
  readonly value: Value
  /** The slice to leave it in; without one it stays in an arena until the next run. */
  readonly destination?: BufferSlice
}

/** The location of an operand: in an arena, a leaf or a buffer. */
export type Location =
  | {
      /** Memory that the plan's intermediates share. */
      readonly kind: 'arena'
      /** Its number in `Plan.arenaBytes`. */
      readonly arena: number
      /** Bytes from the arena's start. */
      readonly offset: number
      /** Its length. */
      readonly bytes: number
    }
  | {
      /** Existing numbers: a parameter, a data set, an input. */
      readonly kind: 'leaf'
      /** Its number among the plan's leaves. */
      readonly leaf: number
      /** Bytes from the leaf's start. */
      readonly offset: number
      /** Its length. */
      readonly bytes: number
    }
  | {
      /** A buffer that the caller named. */
      readonly kind: 'buffer'
      /** The part of that buffer. */
      readonly slice: BufferSlice
    }

/** One run of one kernel, with every operand placed. */
export interface PlannedDispatch {
  /** Names the kernel: `conv2d/plain`. */
  readonly label: string
  /** The whole shader module. */
  readonly wgsl: string
  /** The access modes of its storage operands, in order. */
  readonly access: readonly ('read' | 'read_write')[]
  /** The uniform block's bytes, as u32 words. */
  readonly uniforms: Uint32Array
  /** The uniform word with the number of the first workgroup; undefined if the dispatch cannot be cut. */
  readonly firstGroupWord: number | undefined
  /** Workgroups in x, y and z. */
  readonly workgroups: readonly [number, number, number]
  /** Floating-point operations; 0 if memory traffic dominates. */
  readonly flops: number
  /** The locations of its storage operands, in order. */
  readonly operands: readonly Location[]
}

/** The plan of a graph: dispatches in order, and memory. */
export interface Plan {
  /** The dispatches in the order in which they run. */
  readonly dispatches: readonly PlannedDispatch[]
  /** Bytes of each arena. */
  readonly arenaBytes: readonly number[]
  /**
   * The leaves' storages, by the numbers that locations use.
   * @internal
   */
  readonly leaves: readonly Storage[]
  /** The location and type of each wanted value, in order. */
  readonly results: readonly {
    /** Its location after a run. */
    readonly location: Location
    /** Its shape and dtype. */
    readonly type: TensorType
  }[]
  /** The chosen kernel variants, with their alternatives. */
  readonly choices: readonly Choice[]
  /**
   * Sums that the caller finishes (`deferSums`); their partial results stay in the arenas until the end.
   * @internal
   */
  readonly deferred: readonly PlacedSplitSum[]
  /** A tuning task for each kernel; empty unless `record` is set. */
  readonly tasks: readonly KernelTask[]
}

/** A split sum, and the destination slices of its parts. */
export interface PlacedSplitSum
  extends SplitSum<{
    /** The destination of the part. */
    readonly slice: BufferSlice
  }> {
  /** The location of the partial results, one after the other. */
  readonly partial: Location
}

export interface PlanOptions extends ChooserOptions {
  /** The most sums of partial results that the caller can finish itself, among those needed only by destinations. */
  readonly deferSums?: number | undefined
  /** False plans the graph as traced, for tests that compare the two. */
  readonly fuse?: boolean | undefined
  readonly maxBufferBytes?: number | undefined
  /** The most bytes of a tensor that one binding may cover. */
  readonly maxBindingBytes?: number | undefined
  /**
   * Returns the buffer of a leaf that is already on the device, so that the plan knows which destinations are also
   * read.
   */
  readonly leafBuffer?: ((storage: Storage) => DeviceBuffer | undefined) | undefined
}

const elementBytes: Readonly<Record<DType, number>> = { f32: 4, u32: 4, u8: 1, f16: 2 }

export function bytesOf(type: TensorType): number {
  return elementCount(type.shape) * elementBytes[type.dtype]
}

/**
 * Plans the wanted values. Throws 'limit' for a tensor too large for the adapter's buffers, and what the operators'
 * kernels throw.
 */
export function planGraph(wanted: readonly Wanted[], options: PlanOptions): Plan {
  const traced = wanted.map((w) => w.value)
  if (traced.some(({ type }) => type.dtype === 'f16')) refuseHalf('evaluate')
  const values = options.fuse === false ? traced : rewrite(traced, options.target)
  const outputs = values.map((value, i): Wanted => ({ ...wanted[i], value }))
  return new Planner(outputs, options).plan()
}

/** The value whose memory this one shares: same memory, another shape. */
function rootOf(value: Value): Value {
  let root = value
  for (;;) {
    const [source] = root.node.inputs
    if (source === undefined || viewOffset(root.node) !== 0 || bytesOf(source.type) !== bytesOf(root.type)) return root
    root = source
  }
}

/** Offset of the result in bytes from the start of the first input, if it is a contiguous part of that memory. */
function viewOffset({ op, inputs, attributes }: Node): number | undefined {
  const [source] = inputs
  const elements = source === undefined ? undefined : op.view?.(source.type, attributes)
  return source === undefined || elements === undefined ? undefined : elements * elementBytes[source.type.dtype]
}

/**
 * The first byte of a view into a leaf that starts where a binding may start; undefined for any other node. Such a view
 * is read in place: this is how a weight larger than the largest binding is read, in blocks of rows.
 */
function leafViewOffset(node: Node): number | undefined {
  const [source] = node.inputs
  if (source === undefined || rootOf(source).node.op !== leafOp) return undefined
  const offset = viewOffset(node)
  return offset !== undefined && offset % sliceAlignment === 0 ? offset : undefined
}

class Planner {
  readonly #outputs: readonly Wanted[]
  readonly #options: PlanOptions
  readonly #chooser: KernelChooser
  readonly #arenas: Arenas
  readonly #locations = new Map<string, Location>()
  readonly #leafNumbers = new Map<Storage, number>()
  readonly #dispatches: PlannedDispatch[] = []
  readonly #deferred: PlacedSplitSum[] = []
  readonly #read = new Set<string>()

  constructor(outputs: readonly Wanted[], options: PlanOptions) {
    this.#outputs = outputs
    this.#options = options
    this.#chooser = new KernelChooser(options)
    this.#arenas = new Arenas(options.maxBufferBytes ?? Number.POSITIVE_INFINITY)
  }

  plan(): Plan {
    const order = topologicalOrder(this.#outputs.map((output) => output.value))
    const computed = order.filter((node) => {
      if (isNode(node, leafOp)) return this.#placeLeaf(node)
      return rootOf(outputOf(node)).node === node && !this.#placeLeafView(node)
    })
    const lastUse = this.#lastUses(computed)
    const direct = this.#directDestinations()
    computed.forEach((node, position) => {
      this.#place(node, position, lastUse, direct)
    })
    this.#copyToDestinations()
    return {
      dispatches: this.#dispatches,
      deferred: this.#deferred,
      arenaBytes: this.#arenas.sizes,
      leaves: [...this.#leafNumbers.keys()],
      results: this.#outputs.map(({ value, destination }) => ({
        location: destination === undefined ? this.#locate(value) : { kind: 'buffer', slice: destination },
        type: value.type,
      })),
      choices: this.#chooser.choices,
      tasks: this.#chooser.tasks,
    }
  }

  #placeLeaf({ id, attributes: { storage, type } }: Node<LeafAttributes>): false {
    let leaf = this.#leafNumbers.get(storage)
    if (leaf === undefined) {
      leaf = this.#leafNumbers.size
      this.#leafNumbers.set(storage, leaf)
    }
    this.#locations.set(`${id}.0`, { kind: 'leaf', leaf, offset: 0, bytes: bytesOf(type) })
    return false
  }

  #placeLeafView(node: Node): boolean {
    const [offset, source, type] = [leafViewOffset(node), node.inputs[0], node.outputs[0]]
    if (offset === undefined || source === undefined || type === undefined) return false
    const whole = this.#locate(source)
    if (whole.kind === 'leaf') this.#locations.set(`${node.id}.0`, { ...whole, offset, bytes: bytesOf(type) })
    return true
  }

  #locate(value: Value): Location {
    const location = this.#locations.get(keyOf(rootOf(value)))
    if (location === undefined)
      throw new RangeError(`${value.node.op.name} ${value.node.id} was used before it was placed`)
    return location
  }

  /** The position of the last node that reads each root value; results are read at the end. */
  #lastUses(computed: readonly Node[]): Map<string, number> {
    const last = new Map<string, number>()
    computed.forEach((node, position) => {
      for (const value of node.inputs) {
        last.set(keyOf(rootOf(value)), position)
        this.#read.add(keyOf(rootOf(value)))
      }
    })
    for (const { value } of this.#outputs) last.set(keyOf(rootOf(value)), Number.POSITIVE_INFINITY)
    return last
  }

  /** Destinations that a kernel may write to directly, by root. */
  #directDestinations(): Map<string, BufferSlice> {
    const { leafBuffer } = this.#options
    const readBuffers = new Set([...this.#leafNumbers.keys()].map((storage) => leafBuffer?.(storage)))
    const direct = new Map<string, BufferSlice>()
    const seen = new Set<string>()
    for (const { value, destination } of this.#outputs) {
      const root = rootOf(value)
      const key = keyOf(root)
      if (seen.has(key)) direct.delete(key)
      else if (destination !== undefined && root.node.op !== leafOp && !readBuffers.has(destination.buffer))
        direct.set(key, destination)
      seen.add(key)
    }
    return direct
  }

  #place(node: Node, position: number, lastUse: Map<string, number>, direct: Map<string, BufferSlice>): void {
    // A slice that cannot be read in place.
    if (node.outputs[0]?.dtype === 'f16') refuseHalf(node.op.name)
    const kernel = node.op.lower(node, this.#chooser.reading(node))
    const inputs = node.inputs.map((value) => this.#locate(value))
    const readArenas = new Set(inputs.flatMap((location) => (location.kind === 'arena' ? [location.arena] : [])))
    const readBuffers = new Set(
      inputs.flatMap((location) => (location.kind === 'buffer' ? [location.slice.buffer] : [])),
    )

    let outputArena: number | undefined
    const outputs = node.outputs.map((type, index): Location => {
      const destination = direct.get(keyOf({ node, index }))
      if (destination !== undefined && !readBuffers.has(destination.buffer))
        return { kind: 'buffer', slice: destination }
      const location = this.#reserve(bytesOf(type), readArenas, outputArena, `${node.op.name} ${shapeText(type.shape)}`)
      outputArena = location.arena
      return location
    })
    outputs.forEach((location, index) => {
      this.#locations.set(keyOf({ node, index }), location)
    })

    const taken = new Set(readArenas)
    if (outputArena !== undefined) taken.add(outputArena)
    const scratch = kernel.scratchBytes.map((bytes) => {
      const location = this.#reserve(bytes, taken, undefined, `scratch of ${node.op.name}`)
      taken.add(location.arena)
      return location
    })
    const isDeferred = this.#defer(node, kernel, outputs, scratch)
    const dispatches = isDeferred ? kernel.dispatches.slice(0, -1) : kernel.dispatches
    this.#emit({ ...kernel, dispatches }, { input: inputs, output: outputs, scratch })

    // What a deferred sum adds up lies in the first piece.
    for (const location of isDeferred ? scratch.slice(1) : scratch) this.#release(location)
    node.outputs.forEach((_, index) => {
      if (!lastUse.has(keyOf({ node, index }))) this.#release(outputs[index])
    })
    for (const key of new Set(node.inputs.map((value) => keyOf(rootOf(value)))))
      if (lastUse.get(key) === position) this.#release(this.#locations.get(key))
  }

  /** Leaves a kernel's last sum to the caller if nothing in the graph reads the result. */
  #defer(node: Node, kernel: KernelPlan, outputs: readonly Location[], scratch: readonly Location[]): boolean {
    const sum = kernel.dispatches.at(-1)?.splitSum
    const [partial] = scratch
    const isRead = node.outputs.some((_, index) => this.#read.has(keyOf({ node, index })))
    if (sum === undefined || partial === undefined || isRead) return false
    if (this.#deferred.length >= (this.#options.deferSums ?? 0)) return false
    const targets = sum.targets.flatMap(({ output, ...part }) => {
      const location = outputs[output]
      return location?.kind === 'buffer' ? [{ ...part, slice: location.slice }] : []
    })
    if (targets.length < sum.targets.length) return false
    this.#deferred.push({ partial, splits: sum.splits, count: sum.count, targets })
    return true
  }

  #emit(kernel: KernelPlan, pools: Readonly<Record<Operand['role'], readonly Location[]>>): void {
    for (const dispatch of kernel.dispatches) {
      const { label, wgsl, uniforms, firstGroupWord, workgroups, bindings } = dispatch
      this.#dispatches.push({
        label,
        wgsl,
        uniforms,
        firstGroupWord,
        workgroups,
        flops: flopsOf(kernel, dispatch),
        access: bindings.map((binding) => binding.access),
        operands: bindings.map(({ operand }) => {
          const location = pools[operand.role][operand.index]
          if (location === undefined)
            throw new RangeError(`${label} binds ${operand.role} ${operand.index}, which is missing`)
          const bytes = location.kind === 'buffer' ? location.slice.bytes : location.bytes
          refuseOversized(label, bytes, this.#options.maxBindingBytes ?? Number.POSITIVE_INFINITY)
          return location
        }),
      })
    }
  }

  /** Copies the results that could not be written in place, once everything that reads the old contents has run. */
  #copyToDestinations(): void {
    const pending = this.#outputs.flatMap(({ value, destination }) => {
      const location = this.#locate(value)
      const isInPlace = destination === undefined || (location.kind === 'buffer' && location.slice === destination)
      return isInPlace ? [] : [{ value, destination, location }]
    })
    // An earlier copy must not overwrite what a later one reads, so leaves that are also destinations are saved first.
    const overwritten = new Set<DeviceBuffer | undefined>(pending.map(({ destination }) => destination.buffer))
    const saved = pending.map(({ value, destination, location }) => {
      if (location.kind !== 'leaf' || !overwritten.has(this.#leafBuffer(location)))
        return { value, destination, location }
      const copy = this.#reserve(location.bytes, new Set(), undefined, `copy of ${shapeText(value.type.shape)}`)
      this.#emitCopy(value, location, copy)
      return { value, destination, location: copy }
    })
    for (const { value, destination, location } of saved)
      this.#emitCopy(value, location, { kind: 'buffer', slice: destination })
  }

  #emitCopy(value: Value, from: Location, to: Location): void {
    const kernel = planCopy(value, this.#chooser.reading({ inputs: [value], outputs: [value.type] }))
    this.#emit(kernel, { input: [from], output: [to], scratch: [] })
  }

  #leafBuffer({ leaf }: Extract<Location, { kind: 'leaf' }>): DeviceBuffer | undefined {
    const storage = [...this.#leafNumbers.keys()][leaf]
    return storage === undefined ? undefined : this.#options.leafBuffer?.(storage)
  }

  #reserve(
    bytes: number,
    forbidden: ReadonlySet<number>,
    preferred: number | undefined,
    what: string,
  ): Extract<Location, { kind: 'arena' }> {
    return { kind: 'arena', ...this.#arenas.reserve(bytes, forbidden, preferred, what) }
  }

  #release(location: Location | undefined): void {
    if (location?.kind === 'arena') this.#arenas.release(location)
  }
}
