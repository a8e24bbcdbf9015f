/** A store in a folder that all machines can reach under some path. Objects appear by a rename, after they were flushed. */
import { link, lstat, mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { writeFileAtomic } from '../format/atomic-write.node.ts'
import { ifThere, mostReadableBytes, readHostFile } from '../format/host-file.node.ts'
import { errorCode } from '../gpu/node/driver-folder.ts'
import type { Store, StoredObject } from './store.ts'

export class FolderStore implements Store {
  readonly #folder: string

  constructor(folder: string) {
    this.#folder = folder
  }

  get shown(): string {
    return this.#folder
  }

  async put(name: string, bytes: Uint8Array): Promise<void> {
    await writeFileAtomic(join(this.#folder, name), bytes)
  }

  async create(name: string, bytes: Uint8Array): Promise<void> {
    const path = join(this.#folder, name)
    if ((await this.get(name)) !== undefined) return
    // A link fails if the name is taken, and shows the file whole.
    const own = `${path}.${process.pid}`
    await mkdir(dirname(path), { recursive: true })
    try {
      await writeFile(own, bytes)
      await link(own, path)
    } catch (error) {
      if (errorCode(error) !== 'EEXIST') throw error
    } finally {
      await rm(own, { force: true })
    }
  }

  async get(name: string): Promise<Uint8Array | undefined> {
    return ifThere(() => readHostFile(join(this.#folder, name), mostReadableBytes))
  }

  async list(folder: string): Promise<readonly StoredObject[]> {
    const names = (await orMissing(readdir(join(this.#folder, folder)))) ?? []
    const found: StoredObject[] = []
    for (const own of names.filter((one) => !one.startsWith('.'))) {
      const name = `${folder}/${own}`
      const facts = await orMissing(lstat(join(this.#folder, name)))
      if (facts !== undefined) found.push({ name, bytes: facts.size, writtenAt: facts.mtimeMs })
    }
    return found
  }

  async delete(name: string): Promise<void> {
    await rm(join(this.#folder, name), { force: true })
  }
}

async function orMissing<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined
    throw error
  }
}
