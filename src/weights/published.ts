/** Every network whose ImageNet weights Keras publishes, by name: those that weftgrad builds (the zoo), and the others. */

import { WeftgradError } from '../errors.ts'
import { nameHint } from '../near-names.ts'
import { kerasApplications } from './keras-applications.ts'
import { type PublishedFile, type ZooModel, zoo } from './zoo.ts'

/** A network's published files. */
export type PublishedNetwork = Pick<ZooModel, 'title' | 'files'>

/** By name, in lower case: those of the zoo first. */
export const publishedNetworks: ReadonlyMap<string, PublishedNetwork> = new Map<string, PublishedNetwork>([
  ...Object.entries(zoo),
  ...kerasApplications.map(([title = '', folder = '', base, baseChecksum, top, topChecksum]) => {
    const files = { base: fileIn(folder, base, baseChecksum), withTop: fileIn(folder, top, topChecksum) }
    return [title.toLowerCase(), { title, files }] as const
  }),
])

function fileIn(folder: string, file = '', checksum = ''): PublishedFile {
  // Keras keeps these files under other names than they are published.
  const name = file.startsWith('NASNet') ? file.toLowerCase().replaceAll('-', '_') : file
  return { name, url: `${folder}/${file}`, checksum, bytes: undefined }
}

/** The network of this name, whatever its case. Throws 'argument' for another, with similar names. */
export function publishedOf(text: string): PublishedNetwork & { readonly name: string } {
  const name = String(text).toLowerCase()
  const network = publishedNetworks.get(name)
  if (network !== undefined) return { name, ...network }
  const hint = nameHint(name, [...publishedNetworks.keys()], '`weftgrad weights` lists them.')
  throw new WeftgradError('argument', `Keras publishes no weights of '${text}'${hint}`, { name: text })
}
