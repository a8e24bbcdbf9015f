/**
 * Converts any weights file to safetensors: float32, in the file's order, with weftgrad's names `<layer>/<weight>`. Only one
 * tensor at a time is in memory, and the result is written whole or not at all.
 */
import { WeftgradError } from '../errors.ts'
import { writeFileAtomic } from '../format/atomic-write.node.ts'
import { safetensorsStart } from '../format/safetensors.ts'
import type { WeightEntry, WeightFile } from '../format/weight-file.ts'
import { elementCount } from '../kernels/kernel.ts'
import { weightRoles, withoutCounters } from './names.ts'

/** A written tensor. */
export interface ConvertedTensor {
  readonly name: string
  readonly shape: readonly number[]
  /** Its dtype in the source file. */
  readonly storedAs: string
  /** Mean of the finite numbers; NaN if there are none. */
  readonly min: number
  readonly max: number
  /** How many numbers are NaN or infinite: loading refuses them. */
  readonly notFinite: number
}

export interface ConvertProgress {
  readonly tensor: ConvertedTensor
  readonly bytes: number
  readonly totalBytes: number
}

/** Options of a conversion. */
export interface ConvertOptions {
  /** Called for each tensor that was read. */
  readonly onProgress?: (progress: ConvertProgress) => void
  /** Ends the conversion; the target stays as it was. */
  readonly signal?: AbortSignal
}

/**
 * Writes the file's tensors to `path`, and replaces an existing file.
 * @throws WeftgradError 'format' if the file holds no weights, 'file' if the disk refuses, 'argument' if the file's names do not fit into safetensors, 'aborted'
 * if the signal fired, and what reading throws. `path` is unchanged then.
 */
export async function convertWeights(
  file: WeightFile,
  path: string,
  { onProgress, signal }: ConvertOptions = {},
): Promise<readonly ConvertedTensor[]> {
  const named = namedEntries(file)
  if (named.length === 0)
    throw new WeftgradError('format', `${file.source} holds no weights. Check that it is the right file.`, {
      source: file.source,
    })
  const start = safetensorsStart(
    named.map(({ name, entry }) => ({ name, dtype: 'F32', shape: entry.shape })),
    { format: 'weftgrad-weights', convertedFrom: file.format },
  )
  const totalBytes = named.reduce((sum, { entry }) => sum + 4 * elementCount(entry.shape), 0)
  const written: ConvertedTensor[] = []
  async function* content(): AsyncGenerator<Uint8Array> {
    yield start
    let bytes = 0
    for (const { name, entry } of named) {
      if (signal?.aborted)
        throw new WeftgradError('aborted', `Converting ${file.source} was aborted.`, {}, signal.reason)
      const data = await file.read(entry)
      if (data.length !== elementCount(entry.shape)) {
        throw new WeftgradError(
          'data',
          `${file.source} has ${data.length} numbers for ${name}, which does not match its shape.`,
        )
      }
      yield new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
      const tensor = { name, shape: entry.shape, storedAs: entry.dtype, ...rangeOf(data) }
      written.push(tensor)
      bytes += data.byteLength
      onProgress?.({ tensor, bytes, totalBytes })
    }
  }
  await writeFileAtomic(path, content())
  return written
}

/** In files of other tools, two layers' weights can have the same name: then the file's names stay. */
function namedEntries({ groups }: WeightFile): readonly { readonly name: string; readonly entry: WeightEntry }[] {
  const kept = groups.map(withoutCounters)
  const ours = kept.flatMap((group) => {
    const roles = weightRoles(group)
    // A name that only numbers layers must not become one that identifies them.
    const layer = group.names?.length === 0 ? `unnamed_${group.name}` : group.name
    return group.weights.map((entry, i) => ({ name: `${layer}/${roles[i]}`, entry }))
  })
  if (new Set(ours.map(({ name }) => name)).size === ours.length) return ours
  return kept.flatMap(({ weights }) => weights.map((entry) => ({ name: entry.name, entry })))
}

/** The range of finite numbers, and how many are not finite. */
export function rangeOf(data: Float32Array): Pick<ConvertedTensor, 'min' | 'max' | 'notFinite'> {
  let [min, max, notFinite] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0]
  for (const value of data) {
    if (!Number.isFinite(value)) notFinite += 1
    else {
      if (value < min) min = value
      if (value > max) max = value
    }
  }
  return min <= max ? { min, max, notFinite } : { min: Number.NaN, max: Number.NaN, notFinite }
}
