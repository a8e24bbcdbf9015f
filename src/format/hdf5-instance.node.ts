/**
 * A separate instance of h5wasm's HDF5 library for every file: a damaged file cannot harm another, its memory is limited, and
 * closing the file frees the memory.
 *
 * Importing h5wasm creates one instance. The factory for that has no public entry, so package.json fixes the version (0.10.3).
 * Node.js uses the build for browsers too: the other build gives the library the host's whole file system.
 */
import type { Hdf5Module } from './hdf5.ts'

interface MakerOptions {
  readonly noInitialRun: boolean
  readonly print: (line: string) => void
  readonly printErr: (line: string) => void
  /** Emscripten's hook: receives the library's imports and returns the instance. */
  readonly instantiateWasm?: (
    imports: WebAssembly.Imports,
    receive: (instance: WebAssembly.Instance, module: WebAssembly.Module) => void,
  ) => void
}
type MakeHdf5 = (options: MakerOptions) => Promise<Hdf5Module>

/** The library starts with 19 MB. A chunk of a compressed dataset must fit twice, and h5py's chunks have at most 1 MB. */
const mostLibraryBytes = 256 * 2 ** 20
const pageBytes = 65_536

const silent = (): void => {}
/** One per instance, because it becomes the instance. */
const quietly = (): MakerOptions => ({ noInitialRun: true, print: silent, printErr: silent })

let prepared: Promise<{ readonly make: MakeHdf5; readonly module: WebAssembly.Module }> | undefined
/** The instance created on import, until it is used. */
let first: Hdf5Module | undefined

/** Creates an instance of the library. */
export async function freshHdf5(): Promise<Hdf5Module> {
  prepared ??= prepare()
  const { make, module } = await prepared
  if (first !== undefined) {
    const given = first
    first = undefined
    return given
  }
  return new Promise((resolve, reject) => {
    make({
      ...quietly(),
      instantiateWasm(imports, receive) {
        WebAssembly.instantiate(module, imports)
          .then((instance) => {
            limitMemory(instance)
            receive(instance, module)
          })
          .catch(reject)
      },
    }).then(resolve, reject)
  })
}

/**
 * The factory and the compiled library. h5wasm does not export the latter, so the one call that compiles it is intercepted
 * and passed on unchanged.
 */
async function prepare(): Promise<{ readonly make: MakeHdf5; readonly module: WebAssembly.Module }> {
  const maker = new URL('./hdf5_util.js', import.meta.resolve('h5wasm')).href
  const { default: make }: { default: MakeHdf5 } = await import(/* @vite-ignore */ maker)
  const { instantiate } = WebAssembly
  let module: WebAssembly.Module | undefined
  const listening = async (bytes: BufferSource, imports?: WebAssembly.Imports) => {
    const result = await instantiate(bytes, imports)
    if ('H5Fopen' in (result.instance?.exports ?? {})) {
      module = result.module
      limitMemory(result.instance)
    }
    return result
  }
  WebAssembly.instantiate = listening as typeof instantiate
  try {
    first = await make(quietly())
  } finally {
    WebAssembly.instantiate = instantiate
  }
  if (module === undefined) throw new Error('h5wasm was not compiled as expected: its version must be 0.10.3')
  return { make, module }
}

/** Makes growing beyond the limit fail: the library then reports that it is out of memory. */
function limitMemory({ exports: { memory } }: WebAssembly.Instance): void {
  if (!(memory instanceof WebAssembly.Memory)) throw new Error('h5wasm keeps its memory elsewhere than expected')
  memory.grow = (pages) => {
    if (memory.buffer.byteLength + pages * pageBytes > mostLibraryBytes) throw new RangeError('more than is allowed')
    return WebAssembly.Memory.prototype.grow.call(memory, pages)
  }
}
