/** The device files of GPUs on Linux. */
import { accessSync, constants, readdirSync } from 'node:fs'
import { join } from 'node:path'

/** A device file of a GPU, and whether this user can open it. */
export interface GpuNode {
  readonly path: string
  readonly usable: boolean
}

/** The device files of GPUs on Linux. Without one, only software drivers have a device. */
export function gpuNodes(): GpuNode[] {
  const inFolder = (folder: string, pattern: RegExp): string[] => {
    try {
      return readdirSync(folder)
        .filter((name) => pattern.test(name))
        .map((name) => join(folder, name))
    } catch {
      return []
    }
  }
  const paths = [
    ...inFolder('/dev', /^(nvidia\d+|dxg|kfd|mali\d+|kgsl-3d\d+)$/),
    ...inFolder('/dev/dri', /^renderD\d+$/),
  ]
  return paths.map((path) => ({ path, usable: mayOpen(path) }))
}

function mayOpen(path: string): boolean {
  try {
    accessSync(path, constants.R_OK | constants.W_OK)
    return true
  } catch {
    return false
  }
}
