/**
 * Decides how many workgroups, and of which kind, keep an adapter busy. Only this file knows classes of devices, and it
 * makes every choice that depends on the class.
 *
 * Sources of the numbers. CPU: measured on lavapipe (Mesa 25, 2 to 16 cores), where an empty workgroup costs 80 ns, a
 * load of a vec4 by eight lanes 30 ns, a dispatch 20 us, and a barrier turns the shader into coroutines. GPU: nothing
 * was measured; the numbers are guesses from published counts of cores and threads.
 */

import type { Target } from '../kernel.ts'

/** Lanes of a workgroup without workgroup memory: one subgroup on a CPU (no coroutines); 64 on a GPU, a guess. */
export function plainWorkgroupSize(target: Target): number {
  return target.class === 'cpu' ? (target.subgroupSize ?? 8) : 64
}

/**
 * Whether subgroup kernels beat kernels with workgroup memory: on a CPU with subgroups. There barriers become
 * coroutines, which compile for one to three seconds and reach 12 GFLOP/s at best (lavapipe); subgroups reach 14-26. On
 * a GPU, preferring workgroup memory is a guess.
 */
export function prefersSubgroups(target: Target): boolean {
  return target.class === 'cpu' && target.subgroupSize !== undefined
}

/**
 * Whether a lane should take a long run of outputs to save loads, as depthwise strips do: on a CPU, where loads
 * dominate (strips against `sliding` at 19x19x728: 88 against 190 ns per output). A GPU gains more from more lanes, a
 * guess.
 */
export function prefersLongRuns(target: Target): boolean {
  return target.class === 'cpu'
}

/**
 * Whether it pays to prefetch memory in order before reading it with jumps: on a CPU, where a load that misses the
 * caches stalls a core for 100 ns. A GPU switches to other threads, a guess.
 */
export function gainsFromPrefetch(target: Target): boolean {
  return target.class === 'cpu'
}

/**
 * Whether to fill an array of taps in a loop: on a CPU that saves a third to a half of the compile time. A GPU's
 * compiler may keep the array in registers only if every index is a constant, a guess.
 */
export function fillsTapsInLoop(target: Target): boolean {
  return target.class === 'cpu'
}

/**
 * Workgroups for `chunks` of work, one per lane of a workgroup, with `loads` loads each.
 * - CPU: a million floats take 0.3-0.6 ms in 32-512 workgroups, and 4.8 ms with a workgroup for every eight vec4. At
 *   least eight workgroups occupy the cores.
 * - GPU, a guess: a million threads in flight fill the largest; only beyond that does a lane take more than one item.
 */
export function gridWorkgroups(chunks: number, loads: number, target: Target): number {
  return target.class === 'cpu' ? Math.max(8, Math.min(128, Math.floor((chunks * loads) / 8))) : 16384
}

/**
 * Workgroups for `passes` passes of a workgroup over rows. A CPU spreads a workgroup's 80 ns over at least four rows,
 * and otherwise needs about 128 workgroups to occupy its cores. A GPU needs thousands, a guess.
 */
export function rowWorkgroups(passes: number, target: Target): number {
  return target.class === 'cpu' ? Math.min(128, Math.max(8, passes / 4)) : 8192
}

/** Rows of one image per workgroup of a batch gather: on a CPU a LeNet image is then one workgroup. GPU: a guess. */
export function gatheredRows(target: Target): number {
  return target.class === 'cpu' ? 32 : 4
}

/** Cores of a GPU: as many as the largest have. WebGPU does not say, and fewer only make parts of a sum smaller. */
const gpuCores = 128

/**
 * Target number of workgroups when a sum over k is split: 16 fill the two to sixteen cores of a CPU adapter evenly; a
 * GPU needs four for each core, to switch between while one waits for memory, a guess.
 */
export function splitWorkgroups(target: Target): number {
  return target.class === 'cpu' ? 16 : 4 * gpuCores
}

/**
 * Further targets for tuning to try, named in variants of the tiled kernels. GPUs differ by that much: 128 workgroups
 * keep an integrated one busy, and a large one with 132 cores takes 2048 at once.
 */
export const otherSplitWorkgroups = [128, 2048] as const

/** Whether tuning may try them: on a GPU. A CPU's number is measured. */
export function triesOtherSplits(target: Target): boolean {
  return target.class === 'gpu'
}

/**
 * Whether tuning may try separate kernels for what is fused into one: a convolution and its pooling, a product and its
 * mask or column sums. On a GPU, where which is faster was never measured. On a CPU, convolution and pooling take 1.0 to
 * 3.0 times as long in kernels of their own (LeNet's layers and their gradients, 128 images, lavapipe).
 */
export function triesSeparateKernels(target: Target): boolean {
  return target.class === 'gpu'
}

/** Workgroups of depthwise convolution: 16 keep the cores of a CPU evenly busy; a GPU needs thousands, a guess. */
export function depthwiseWorkgroups(target: Target): number {
  return target.class === 'cpu' ? 16 : 2048
}

/**
 * Number of parts in which the rows of a depthwise filter gradient are summed, given the workgroups per part. A CPU
 * needs about sixteen workgroups to keep its cores busy. A GPU takes a thousand, but a part of fewer than four rows is
 * too little work, and with more than 128 parts the second dispatch, which adds them one after the other, becomes the
 * slower one: guesses.
 */
export function depthwiseParts(rows: number, workgroupsPerPart: number, target: Target): number {
  return target.class === 'cpu' ? 16 / workgroupsPerPart : Math.min(128, 1024 / workgroupsPerPart, rows / 4)
}

/**
 * Workgroups that share the quads of a convolution, on a CPU: each core gets several, and loading the taps into a lane
 * costs little in comparison. In a filter gradient each leaves a partial sum, and one lane per tap adds them up.
 */
export const quadWorkgroups = 32

/**
 * Lanes that keep a GPU busy, a guess: the largest have about 17,000 arithmetic units. A CPU's few cores are busy with
 * any number.
 */
export function busyLanes(target: Target): number {
  return target.class === 'cpu' ? 1 : 16384
}

/**
 * Parts in which the quads of a filter gradient are summed with quads along the lanes, for `chunks` workgroups a part;
 * a part takes `passes` of its workgroup at most. 32 workgroups on a CPU, as for quads; 1024 on a GPU, a guess.
 */
export function pixelParts(passes: number, chunks: number, target: Target): number {
  return Math.max(1, Math.min(passes, Math.floor((target.class === 'cpu' ? 32 : 1024) / chunks)))
}

/** Whether lanes add their sums by a tree in workgroup memory: on a GPU. A CPU turns barriers into coroutines. */
export function addsLanesByTree(target: Target): boolean {
  return target.class === 'gpu'
}

/**
 * Lanes that share one sum of `splits` partial results: a GPU's lane waits for one load after the other, so 16 lanes
 * share 32 or more of them, a guess. On a CPU, one.
 */
export function lanesPerSum(splits: number, target: Target): number {
  return addsLanesByTree(target) && splits >= 32 ? 16 : 1
}

/** Partial sums of the filter gradient for one-channel images on a CPU, for each group of filters. */
export const oneChannelPartialSums = 16

/**
 * Bytes of images that a Winograd convolution transforms at a time. On a CPU they then stay in its caches until the
 * product reads them. A GPU gains from few large dispatches, and binds 128 MiB at least: a guess.
 */
export function transformedBytes(target: Target): number {
  return (target.class === 'cpu' ? 16 : 128) * 2 ** 20
}

/** Limits for preferring a block of workgroup memory over one lane per element. */
export interface BlockLimits {
  /** Workgroups that keep the device busy. */
  readonly busyWorkgroups: number
  /** The most elements computed per element needed. */
  readonly mostPadding: number
  /** Number of terms from which a block wins despite any padding. */
  readonly longSum: number
}

/**
 * The limits of a device class.
 * - CPU: 8 workgroups keep two to eight cores even. Measured without subgroups on lavapipe: with a padding of 2 the
 *   block wins (1.2 against 0.8 GFLOP/s), with 3.2 it loses (0.8 against 1.7).
 * - GPU, guesses: with two workgroups for each core, a core has something to switch to. With
 *   7 of 8 lanes idle, a block is no faster than plain lanes, which read two numbers from storage per multiply-add.
 *   From 512 terms on, the few lanes of a plain kernel wait for one load after another, while blocks split the sum.
 */
export function blockLimits(target: Target): BlockLimits {
  return target.class === 'cpu'
    ? { busyWorkgroups: 8, mostPadding: 2, longSum: Number.POSITIVE_INFINITY }
    : { busyWorkgroups: 2 * gpuCores, mostPadding: 8, longSum: 512 }
}

/** Limits for splitting a reduction into parts. */
export interface ReductionLimits {
  /** Lanes that keep the device busy. */
  readonly lanes: number
  /** Loads per output below which a second pass costs more than it saves. */
  readonly worthwhile: number
  /** The fewest loads in a part. */
  readonly leastPart: number
}

/**
 * The limits of a device class. A second pass costs a dispatch: 20 us on lavapipe, in which a lane adds up about 1000
 * loads; 256 lanes occupy sixteen cores with two workgroups each. A GPU needs thousands of lanes, and a dispatch costs
 * it 5 us: guesses.
 */
export function reductionLimits(target: Target): ReductionLimits {
  return target.class === 'cpu'
    ? { lanes: 256, worthwhile: 2048, leastPart: 256 }
    : { lanes: busyLanes(target), worthwhile: 256, leastPart: 32 }
}

/** Whether a workgroup should share a long row, because its lanes then read neighbouring addresses: a GPU, a guess. */
export function prefersWorkgroupRows(target: Target): boolean {
  return target.class === 'gpu'
}

/**
 * Whether `rows` rows keep the device busy with one lane each: on a CPU, if they fill two workgroups. lavapipe takes
 * 0.23 ms for 128 rows of 1000 classes by lanes and 0.25 ms by subgroups. Never on a GPU, a guess.
 */
export function fillsByRows(rows: number, target: Target): boolean {
  return target.class === 'cpu' && rows >= 16
}

/**
 * The most rows of a gathered tensor whose gradient is summed by rows, where each lane reads all indices. On a CPU,
 * rows and columns are equally fast at about 16 rows (10 rows of 8, 128 indices: 0.05 against 0.08 ms; 1000 rows of
 * 512: 75 against 0.6); a GPU has lanes for about a million elements at once, a guess.
 */
export function mostRowsByRow(rowElements: number, target: Target): number {
  return target.class === 'cpu' ? 16 : 2 ** 20 / rowElements
}

/**
 * Workgroups for an optimizer's update that takes `steps` steps of a workgroup. On a CPU, a lane takes at least eight
 * vectors (a workgroup costs 80 ns, a vector's update about 250 ns), and 64 workgroups occupy any number of cores
 * evenly. On a GPU, a lane takes one vector until there are very many, a guess.
 */
export function updateWorkgroups(steps: number, target: Target): number {
  return target.class === 'cpu' ? Math.min(64, Math.ceil(steps / 8)) : Math.min(16384, steps)
}

/**
 * Vectors that a lane checks for numbers that are not finite: 32 on a CPU, as a workgroup costs 80 ns and a load 30;
 * one per lane on a GPU, a guess.
 */
export function checkedVectorsPerLane(target: Target): number {
  return target.class === 'cpu' ? 32 : 1
}
