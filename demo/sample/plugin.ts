/**
 * The Vite plugin of the bundled sample: `import url from 'virtual:fashion-mnist-sample'` gives its address, in
 * development and in a build. The sample is made on first use and kept in Vite's cache; it is not in git.
 *
 * In a build, workers have separate plugins: add it to both `plugins` and `worker.plugins`.
 */
import { access, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Plugin } from 'vite'
import { writeFileAtomic } from '../../src/format/atomic-write.node.ts'
import { makeSample } from './maker.node.ts'

export function fashionMnistSample(): Plugin {
  let folder = ''
  let made: Promise<string> | undefined
  const make = async (): Promise<string> => {
    // Not `.gz`: some servers tell the browser to unpack such files, others do not.
    const path = join(folder, 'fashion-mnist-sample.bin')
    const isThere = await access(path).then(
      () => true,
      () => false,
    )
    if (isThere) return path
    await mkdir(folder, { recursive: true })
    await writeFileAtomic(path, await makeSample())
    return path
  }
  return {
    name: 'fashion-mnist-sample',
    configResolved({ cacheDir }) {
      folder = join(cacheDir, 'weftgrad-demo')
    },
    async resolveId(id) {
      if (id !== 'virtual:fashion-mnist-sample') return undefined
      made ??= make()
      return `${await made}?url`
    },
  }
}
