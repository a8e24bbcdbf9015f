/**
 * Writes HDF5 files in memory with the HDF5 library compiled to WebAssembly (h5wasm), as far as weights files need it: groups,
 * text attributes, and datasets of numbers.
 *
 * Promises: the numbers are stored bit for bit; a failure leaves nothing behind in the library. Two files of the same tree differ in
 * the time that HDF5 notes with every dataset.
 */
import { WeftgradError } from '../errors.ts'
import { type Hdf5Loader, type Hdf5Module, reasonOf, sharedHdf5 } from './hdf5.ts'
import { product } from './hdf5-slices.ts'

/** Numbers to write, row-major. */
export interface Hdf5Numbers {
  readonly shape: readonly number[]
  readonly data: Float32Array | Int32Array
}

/** A group: its text attributes, and what it holds, by name. A dataset `a/b` is in a group `a`. */
export interface Hdf5Group {
  readonly attributes?: Readonly<Record<string, string | readonly string[]>>
  readonly groups?: Readonly<Record<string, Hdf5Group>>
  readonly datasets?: Readonly<Record<string, Hdf5Numbers>>
}

/** Bytes copied to the library's memory at a time: larger datasets are written in chunks of whole rows. */
const mostBytesAtOnce = 32 * 2 ** 20

let written = 0

/**
 * The bytes of a file with this root group.
 * @param load loads the HDF5 library; by default one instance is shared, as browsers need it.
 * @throws WeftgradError 'file' if the library fails, which it does when memory runs out.
 */
export async function writeHdf5(root: Hdf5Group, load: Hdf5Loader = sharedHdf5): Promise<Uint8Array> {
  const library = await load()
  const path = `/written-${written++}.h5`
  try {
    library.activate_throwing_error_handler()
    const file = library.open(path, library.H5F_ACC_TRUNC, false, -1, -1)
    try {
      new Writer(library, file).group('', root)
    } finally {
      library.close_file(file)
    }
    return library.FS.readFile(path, { encoding: 'binary' })
  } catch (cause) {
    throw new WeftgradError('file', `The HDF5 library could not write the file: ${reasonOf(cause)}.`, {}, cause)
  } finally {
    forget(library, path)
  }
}

function forget({ FS }: Hdf5Module, path: string): void {
  try {
    FS.unlink(path)
  } catch {
    // The library failed before the file existed.
  }
}

class Writer {
  readonly #library: Hdf5Module
  readonly #file: bigint
  readonly #groups = new Set([''])

  constructor(library: Hdf5Module, file: bigint) {
    this.#library = library
    this.#file = file
  }

  group(path: string, { attributes = {}, groups = {}, datasets = {} }: Hdf5Group): void {
    for (const [name, value] of Object.entries(attributes)) this.#attribute(path === '' ? '/' : path, name, value)
    for (const [name, numbers] of Object.entries(datasets)) {
      const place = `${path}/${name}`
      this.#create(place.slice(0, place.lastIndexOf('/')))
      this.#dataset(place, numbers)
    }
    for (const [name, group] of Object.entries(groups)) {
      this.#create(`${path}/${name}`)
      this.group(`${path}/${name}`, group)
    }
  }

  #create(path: string): void {
    if (this.#groups.has(path)) return
    this.#create(path.slice(0, path.lastIndexOf('/')))
    this.#library.create_group(this.#file, path, false)
    this.#groups.add(path)
  }

  /** Texts of variable length: HDF5 keeps them apart, so the limit of 64 KB on a group's attributes does not count them. */
  #attribute(path: string, name: string, value: string | readonly string[]): void {
    const library = this.#library
    const texts = typeof value === 'string' ? [value] : [...value]
    const shape = typeof value === 'string' ? [] : [BigInt(texts.length)]
    // Keras' own files have an empty list of numbers where there are no names.
    if (texts.length === 0) {
      const none = this.#metadata(library.H5T_class_t.H5T_FLOAT.value, 8, shape)
      this.#held(new Uint8Array(), (place) => library.create_attribute(this.#file, path, name, place, none))
    } else
      library.create_vlen_str_attribute(this.#file, path, name, texts, {
        ...this.#metadata(library.H5T_class_t.H5T_STRING.value, 4, shape),
        ...{ vlen: true, cset: 1 },
      })
  }

  #dataset(path: string, { shape, data }: Hdf5Numbers): void {
    const library = this.#library
    const [rows = 1, ...rest] = shape
    const { H5T_FLOAT, H5T_INTEGER } = library.H5T_class_t
    const type = data instanceof Float32Array ? H5T_FLOAT.value : H5T_INTEGER.value
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
    const rowBytes = product(rest) * data.BYTES_PER_ELEMENT
    const extents = shape.map(BigInt)
    if (bytes.length <= mostBytesAtOnce || rowBytes > mostBytesAtOnce) {
      this.#held(bytes, (place) =>
        library.create_dataset(this.#file, path, place, { ...this.#metadata(type, 4, extents), ...wholeLayout }),
      )
      return
    }
    // The library can only create a dataset with all its numbers, so this one starts without rows and grows.
    const step = Math.floor(mostBytesAtOnce / rowBytes)
    const [none, chunk] = [0, step].map((count) => [count, ...rest].map(BigInt))
    const growing = { ...wholeLayout, maxshape: extents, chunks: chunk ?? [] }
    this.#held(new Uint8Array(), (place) =>
      library.create_dataset(this.#file, path, place, { ...this.#metadata(type, 4, none ?? []), ...growing }),
    )
    library.resize_dataset(this.#file, path, extents)
    for (let from = 0; from < rows; from += step) {
      const count = Math.min(step, rows - from)
      const box = [[count, ...rest], [from, ...rest.map(() => 0)], shape.map(() => 1)]
      const [counts = [], starts = [], strides = []] = box.map((sizes) => sizes.map(BigInt))
      this.#held(bytes.subarray(from * rowBytes, (from + count) * rowBytes), (place) =>
        library.set_dataset_data(this.#file, path, counts, starts, strides, place),
      )
    }
  }

  #metadata(type: number, size: number, shape: bigint[]) {
    const counted = { total_size: shape.reduce((total, extent) => total * Number(extent), 1), shape, maxshape: shape }
    return { type, size, ...counted, signed: type === 0, littleEndian: true, vlen: false }
  }

  /** Copies bytes to the library's memory while `use` runs. */
  #held(bytes: Uint8Array, use: (place: bigint) => void): void {
    const place = this.#library._malloc(Math.max(bytes.length, 1))
    if (place === 0) throw new RangeError(`there is no memory for ${bytes.length} bytes`)
    try {
      this.#library.HEAPU8.set(bytes, place)
      use(BigInt(place))
    } finally {
      this.#library._free(place)
    }
  }
}

const wholeLayout = { chunks: null, compression: 0, compression_opts: [], track_order: false }
