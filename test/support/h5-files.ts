/** HDF5 files for testing readers. */
import { join } from 'node:path'
import { File } from 'h5wasm/node'
import { hashedNumbers } from './hashed-weights.ts'
import { writeKerasH5 } from './keras-h5-writer.ts'

/** Hashed numbers that fill a shape. */
export const hashed = (name: string, ...shape: number[]): Float32Array =>
  hashedNumbers(
    name,
    shape.reduce((product, extent) => product * extent, 1),
  )

/** Makes HDF5 files in a folder, with h5wasm. Each has one layer `a` whose only weight is `kernel`. */
export const h5FilesIn =
  (folder: () => string) =>
  async (name: string, fill: (file: File) => void): Promise<string> => {
    const path = join(folder(), name)
    await writeKerasH5(path, [])
    const file = new File(path, 'a')
    try {
      fill(file)
    } finally {
      file.close()
    }
    return path
  }

export function listKernel(file: File): void {
  file.delete_attribute('layer_names')
  file.create_attribute('layer_names', ['a'])
  file.create_group('a').create_attribute('weight_names', ['kernel'])
}
