/**
 * The HDF5 library of h5wasm in memory of its own for every file, so that a damaged file harms no other, takes no more
 * memory than it is given, and the memory goes when the file is closed.
 *
 * h5wasm itself makes one instance when it is imported. The maker that it uses lies beside its entry; it has no public
 * name, so the version is fixed in package.json (0.10.3). The build for browsers is taken in Node.js, too: the other one
 * gives the library the host's whole file system.
 */
import type { Hdf5Module } from './hdf5.ts'

interface MakerOptions {
  readonly noInitialRun: boolean
  readonly print: (line: string) => void
  readonly printErr: (line: string) => void
  /** Emscripten's own hook: gives the library what it imports, takes the instance. */
  readonly instantiateWasm?: (
    imports: WebAssembly.Imports,
    receive: (instance: WebAssembly.Instance, module: WebAssembly.Module) => void,
  ) => void
}
type MakeHdf5 = (options: MakerOptions) => Promise<Hdf5Module>

/** 19 MB to begin with. A chunk of a compressed dataset has to fit in twice, and h5py makes them of 1 MB at most. */
const mostLibraryBytes = 256 * 2 ** 20
const pageBytes = 65_536

const silent = (): void => {}
/** A new one for every instance, because it becomes the instance. */
const quietly = (): MakerOptions => ({ noInitialRun: true, print: silent, printErr: silent })

let prepared: Promise<{ readonly make: MakeHdf5; readonly module: WebAssembly.Module }> | undefined
/** The instance that came with the compiled library, until it is taken. */
let first: Hdf5Module | undefined

/** A new instance of the library. */
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
 * The maker and the compiled library, which it keeps to itself: the call that compiles it is listened to once, and
 * passed on as it is.
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
  if (module === undefined) throw new Error('h5wasm was not compiled as expected: its version has to be 0.10.3')
  return { make, module }
}

/** Growing beyond the bound fails, and the library then reports that it is out of memory. */
function limitMemory({ exports: { memory } }: WebAssembly.Instance): void {
  if (!(memory instanceof WebAssembly.Memory)) throw new Error('h5wasm keeps its memory elsewhere than expected')
  memory.grow = (pages) => {
    if (memory.buffer.byteLength + pages * pageBytes > mostLibraryBytes) throw new RangeError('more than is allowed')
    return WebAssembly.Memory.prototype.grow.call(memory, pages)
  }
}
