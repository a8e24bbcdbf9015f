/**
 * Reads HDF5 files with the HDF5 library compiled to WebAssembly (h5wasm), as far as weights files need it: the names in a
 * group, text attributes, and datasets of numbers as float32.
 *
 * The library trusts files too much, so it is confined. It sees one file through a callback that reads the requested bytes:
 * it has no other access to the host, and never needs the whole file in memory. Its reads are counted, and a structure that
 * would make it loop forever is checked before it reads it. Sizes are compared with the file before anything is allocated.
 * Every failure is a WeftgradError 'format' and is not printed; after a failure of the library the file is closed. Format: https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html
 */
import { WeftgradError } from '../errors.ts'
import { type ByteSource, closedError } from './byte-source.ts'
import { product, type Slice, scatter, slicesOf } from './hdf5-slices.ts'
import { checkSuperblock, floatClass, HeapCheck, halfFloats } from './hdf5-structure.ts'
import { bfloat16ToFloat32, float16ToFloat32 } from './safetensors.ts'
import { mostUnpacked } from './unpacked.ts'

/** The library, loaded. */
export type Hdf5Module = typeof import('h5wasm').Module

/** Loads the library, with separate memory if possible, as `freshHdf5` does. */
export type Hdf5Loader = () => Promise<Hdf5Module>

export type Hdf5Kind = 'group' | 'dataset' | 'other' | 'none'

export interface Hdf5Dataset {
  readonly path: string
  readonly shape: readonly number[]
  /** `float32`, `int64`, or another kind: `string`, `compound`. */
  readonly dtype: string
}

export interface Hdf5File {
  /** The names in a group, sorted, unless the file keeps the order of creation. */
  children(path: string): readonly string[]
  kind(path: string): Hdf5Kind
  attributes(path: string): readonly string[]
  /** A text attribute, or a list of texts. An empty list may have any type. */
  texts(path: string, attribute: string): readonly string[]
  dataset(path: string): Hdf5Dataset
  /** The numbers of a dataset of float16, float32 or float64. */
  read(dataset: Hdf5Dataset): Float32Array
  close(): void
}

/** Bytes copied from the library's memory at a time. VGG16 takes 36 ms; with 4 MB it takes 30 ms, but the memory would grow. */
const sliceBytes = 2 ** 20
/** Deflate cannot pack more tightly: https://zlib.net/zlib_tech.html */
const mostDeflated = 1032
const smallChunkBytes = 2 ** 20

const floatDtypes: Readonly<Record<number, string>> = { 2: 'float16', 4: 'float32', 8: 'float64' }
/** By the library's number of the type class. */
const otherDtypes: Readonly<Record<number, string>> = {
  2: 'time',
  3: 'string',
  4: 'bitfield',
  5: 'opaque',
  6: 'compound',
  7: 'reference',
  8: 'enum',
  9: 'variable-length',
  10: 'array',
}
const integerClass = 0
const stringClass = 3
const deflateFilter = 1
/** Filters below this number are part of HDF5 itself. */
const firstRegisteredFilter = 256
/** Further filters that h5py, PyTables and others use. Source: the HDF Group's list of registered filters. */
const registeredFilters: Readonly<Record<number, string>> = {
  32000: 'LZF',
  32001: 'Blosc',
  32004: 'LZ4',
  32008: 'Bitshuffle',
  32013: 'ZFP',
  32015: 'Zstandard',
  32026: 'Blosc2',
}
/** The dtype in a file with both float16 and bfloat16: h5wasm does not distinguish them. */
const mixedHalves = 'float16 or bfloat16'
/** The parts of emscripten's file system that serve a file through a callback. */
interface ServedNode {
  stream_ops: {
    llseek(stream: { readonly position: number }, offset: number, whence: number): number
    read(stream: unknown, buffer: Uint8Array, offset: number, length: number, position: number): number
  }
}

/** Instances that a damaged file has crashed. Browsers have only one. */
const broken = new WeakSet<Hdf5Module>()

/** The one instance that everything shares where none is given. */
export async function sharedHdf5(): Promise<Hdf5Module> {
  const { ready } = await import('h5wasm')
  return ready
}

let opened = 0

/**
 * Opens a file. `close` also closes its source, and so does a failure.
 * @throws WeftgradError 'format' if the library cannot read it.
 */
export async function openHdf5(source: ByteSource, load: Hdf5Loader = sharedHdf5): Promise<Hdf5File> {
  try {
    checkSuperblock(source)
    const library = await load()
    if (broken.has(library)) {
      throw new WeftgradError('format', 'An earlier file crashed the HDF5 library. Reload the page.', {})
    }
    return new ServedHdf5(source, library)
  } catch (error) {
    source.close()
    throw error
  }
}

class ServedHdf5 implements Hdf5File {
  readonly #source: ByteSource
  readonly #library: Hdf5Module
  readonly #path = `/weights-${opened++}.h5`
  readonly #file: bigint
  readonly #heaps: HeapCheck
  /** The datasets counted so far. */
  readonly #listed = new Set<string>()
  #listedBytes = 0
  #isOpen = true
  #readsLeft = 0
  #halves: ReadonlySet<string> | undefined
  /** True while numbers are read: they are not structure, so they are not checked. */
  #isReadingNumbers = false

  constructor(source: ByteSource, library: Hdf5Module) {
    this.#source = source
    this.#library = library
    this.#heaps = new HeapCheck(source)
    this.#serve()
    this.#file = this.#run(() => {
      library.activate_throwing_error_handler()
      return library.open(this.#path, library.H5F_ACC_RDONLY, false, -1, -1)
    })
  }

  children(path: string): readonly string[] {
    return this.#run(() => this.#library.get_names(this.#file, path, false))
  }

  kind(path: string): Hdf5Kind {
    const { H5G_GROUP, H5G_DATASET } = this.#library
    const type = this.#run(() => this.#library.get_type(this.#file, path))
    return type === H5G_GROUP ? 'group' : type === H5G_DATASET ? 'dataset' : type < 0 ? 'none' : 'other'
  }

  attributes(path: string): readonly string[] {
    return this.#run(() => this.#library.get_attribute_names(this.#file, path))
  }

  texts(path: string, attribute: string): readonly string[] {
    const library = this.#library
    const metadata = this.#run(() => library.get_attribute_metadata(this.#file, path, attribute))
    const { type, size, total_size: count, vlen, cset } = metadata
    if (count === 0) return []
    if (type !== stringClass) throw this.#refuse(`the attribute '${attribute}' of ${path} is not text. Write it again`)
    const bytes = count * size
    if (!(bytes <= this.#source.size)) {
      throw this.#refuse(`the attribute '${attribute}' of ${path} claims ${bytes} bytes. Download it again`)
    }
    return this.#run(() => {
      const place = this.#allocate(bytes)
      library.get_attribute_data(this.#file, path, attribute, BigInt(place))
      const packed = library.HEAPU8.slice(place, place + bytes)
      const encoding = cset === 1 ? 'utf-8' : 'latin1'
      const texts = vlen
        ? Array.from(new Uint32Array(packed.buffer), (at) => (at === 0 ? '' : library.UTF8ToString(at)))
        : Array.from({ length: count }, (_, i) => fixedText(packed.subarray(i * size, (i + 1) * size), encoding))
      if (vlen) library.reclaim_vlen_memory(this.#file, path, attribute, BigInt(place))
      library._free(place)
      return texts
    })
  }

  dataset(path: string): Hdf5Dataset {
    const { type, size, signed, shape } = this.#run(() => this.#library.get_dataset_metadata(this.#file, path))
    if (shape === null) throw this.#refuse(`the dataset ${path} is empty. Write it again`)
    this.#count(path, product(shape) * size)
    const integer = `${signed ? 'int' : 'uint'}${8 * size}`
    const float = size === 2 ? this.#halfDtype() : (floatDtypes[size] ?? `float${8 * size}`)
    const dtype = type === integerClass ? integer : type === floatClass ? float : (otherDtypes[type] ?? 'unknown')
    return { path, shape, dtype }
  }

  /** Limits the total: compressed datasets can claim any size. */
  #count(path: string, bytes: number): void {
    if (this.#listed.has(path)) return
    this.#listed.add(path)
    this.#listedBytes += bytes
    const most = mostUnpacked(this.#source.size)
    if (this.#listedBytes <= most) return
    throw this.#refuse(
      `its datasets up to ${path} claim ${this.#listedBytes} bytes, but at most ${most} are unpacked from a file of ${this.#source.size}. ` +
        'Check that it is the right file, or write it without compression',
    )
  }

  read({ path, shape, dtype }: Hdf5Dataset): Float32Array {
    const metadata = this.#run(() => this.#library.get_dataset_metadata(this.#file, path))
    const { size, total_size: count, chunks, virtual_sources: elsewhere } = metadata
    if (metadata.type !== floatClass || floatDtypes[size] === undefined || dtype === mixedHalves) {
      throw this.#refuse(`${path} holds ${dtype}, and weights are float16, float32 or float64. Convert it`)
    }
    if (elsewhere !== undefined)
      throw this.#refuse(`the numbers of ${path} are in other files. Merge them into this one`)
    const bytes = count * size
    const filters = chunks === null ? [] : this.#run(() => this.#library.get_dataset_filters(this.#file, path))
    const missing = filters.find(({ id }) => id >= firstRegisteredFilter)
    if (missing !== undefined) {
      const filter = registeredFilters[missing.id] ?? `the filter ${missing.id}`
      throw this.#refuse(
        `${path} is compressed by ${filter}, which is not part of HDF5 and is not available here. Write it uncompressed or with gzip ` +
          "(h5py: compression='gzip'; or h5repack -f GZIP=4 IN.h5 OUT.h5)",
      )
    }
    const densest = filters.some(({ id }) => id === deflateFilter) ? mostDeflated : 1
    const chunkBytes = product(chunks ?? []) * size
    const isSane = chunks === null || chunkBytes <= Math.max(bytes, smallChunkBytes)
    if (!(bytes <= this.#source.size * densest) || !isSane) {
      throw this.#refuse(
        `${path} claims ${bytes} bytes, more than fit into a file of ${this.#source.size}. Download it again`,
      )
    }
    const numbers = this.#numbersFor(path, count)
    for (const slice of slicesOf(shape, chunks ?? shape.map(() => 1), sliceBytes / size)) {
      this.#readSlice(path, shape, dtype, size, slice, numbers)
    }
    return numbers
  }

  close(): void {
    if (!this.#isOpen) return
    try {
      this.#library.close_file(this.#file)
    } catch {
      // The file is not used again.
    }
    this.#drop()
  }

  /**
   * The kind of 16-bit floats. The library does not report it, so this searches the file for the type descriptions: a class,
   * a size of 2 bytes, 16 bits, then the places and sizes of exponent and fraction. Format specification, IV.A.2.d.
   */
  #halfDtype(): string {
    this.#halves ??= new Set(halfFloats(this.#source))
    const [dtype = 'float16', ...others] = this.#halves
    return others.length === 0 ? dtype : mixedHalves
  }

  /** Reads a box of the dataset and copies it to its position. */
  #readSlice(
    path: string,
    shape: readonly number[],
    dtype: string,
    size: number,
    { start, extent }: Slice,
    numbers: Float32Array,
  ): void {
    const library = this.#library
    const count = product(extent)
    const isScalar = shape.length === 0
    this.#isReadingNumbers = true
    try {
      this.#run(() => {
        const place = this.#allocate(count * size)
        const [counts, starts] = [extent.map(BigInt), start.map(BigInt)]
        const strides = extent.map(() => 1n)
        const status = isScalar
          ? library.get_dataset_data(this.#file, path, null, null, null, BigInt(place))
          : library.get_dataset_data(this.#file, path, counts, starts, strides, BigInt(place))
        if (status < 0) throw new Error(`${path} could not be read`)
        scatter(floatsAt(library.HEAPU8.buffer, place, count, dtype, size), shape, { start, extent }, numbers)
        library._free(place)
      })
    } finally {
      this.#isReadingNumbers = false
    }
  }

  #numbersFor(path: string, count: number): Float32Array {
    try {
      return new Float32Array(count)
    } catch (cause) {
      throw this.#refuse(
        `${path} has ${count} numbers, more than fit into memory. Check that it is the right file`,
        cause,
      )
    }
  }

  #allocate(bytes: number): number {
    const place = this.#library._malloc(bytes)
    if (place === 0) throw new RangeError(`there is no memory for ${bytes} bytes`)
    return place
  }

  /** Adds a file to the library's file system whose bytes come from the source. */
  #serve(): void {
    const { FS } = this.#library
    FS.close(FS.open(this.#path, 'w'))
    const node = FS.lookupPath(this.#path, {}).node as unknown as ServedNode
    const { size } = this.#source
    Object.defineProperty(node, 'usedBytes', { value: size })
    node.stream_ops = {
      llseek: ({ position }, offset, whence) => offset + (whence === 1 ? position : whence === 2 ? size : 0),
      read: (_, buffer, offset, length, position) => this.#serveBytes(buffer, offset, length, position),
    }
  }

  #serveBytes(buffer: Uint8Array, offset: number, length: number, position: number): number {
    this.#readsLeft -= 1
    if (this.#readsLeft < 0) throw this.#refuse('its structure is circular. Download it again')
    const count = Math.max(0, Math.min(length, this.#source.size - position))
    // The library passes its memory as signed bytes.
    const bytes = new Uint8Array(buffer.buffer, buffer.byteOffset + offset, count)
    this.#source.readInto(bytes, position)
    if (!this.#isReadingNumbers) this.#heaps.check(position, bytes)
    return count
  }

  /** Runs calls of the library. If they throw, the file is closed. */
  #run<T>(calls: () => T): T {
    if (!this.#isOpen) throw closedError(this.#source.name)
    // Every structure in the file has at least 16 bytes, most have far more.
    this.#readsLeft = 2 ** 16 + this.#source.size / 16
    try {
      return calls()
    } catch (cause) {
      if (cause instanceof WebAssembly.RuntimeError || cause instanceof RangeError) broken.add(this.#library)
      this.#drop()
      if (cause instanceof WeftgradError) throw cause
      throw this.#refuse(`${reasonOf(cause)}. Download it again, or write it again with Keras`, cause)
    }
  }

  #drop(): void {
    this.#isOpen = false
    this.#source.close()
    try {
      this.#library.FS.unlink(this.#path)
    } catch {
      // The library may be broken: the name stays.
    }
  }

  #refuse(problem: string, cause?: unknown): WeftgradError {
    const { name } = this.#source
    return new WeftgradError('format', `${name} is not a readable HDF5 file: ${problem}.`, { source: name }, cause)
  }
}

function floatsAt(
  memory: ArrayBufferLike,
  place: number,
  count: number,
  dtype: string,
  size: number,
): Float32Array | Float64Array {
  if (size === 8) return new Float64Array(memory, place, count)
  if (size === 4) return new Float32Array(memory, place, count)
  const bits = new Uint16Array(memory, place, count)
  return dtype === 'bfloat16' ? bfloat16ToFloat32(bits) : float16ToFloat32(bits)
}

/** Texts of fixed length end at the first zero, or are padded with spaces. */
function fixedText(bytes: Uint8Array, encoding: string): string {
  const end = bytes.indexOf(0)
  return new TextDecoder(encoding).decode(end < 0 ? bytes : bytes.subarray(0, end)).trimEnd()
}

/** The library prints a stack of failed functions; the innermost has the best reason. */
export function reasonOf(cause: unknown): string {
  const text = cause instanceof Error ? cause.message : String(cause)
  const stack = [...text.matchAll(/ in \w+\(\): (.+)/g)]
  const reason = stack.at(-1)?.[1] ?? text.split('\n')[0] ?? ''
  return (reason === '' ? 'the HDF5 library failed' : reason).slice(0, 200)
}
