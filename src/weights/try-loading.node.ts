/**
 * Checks weights that were found: whether their bytes are the published ones, and whether they load into the network. Files of
 * networks that weftgrad does not build are read as a whole.
 */
import { createHash } from 'node:crypto'
import { readBytes } from '../format/byte-source.ts'
import { openHostFile } from '../format/host-file.node.ts'
import { openWeightFile } from '../format/open-weights.node.ts'
import { isCounter, isReadable } from '../format/weight-file.ts'
import { elementCount } from '../kernels/kernel.ts'
import { checkNumbers } from '../nn/model-weights.ts'
import { pretrained } from '../nn/models/pretrained.ts'
import { hashFor } from './download.node.ts'
import { assignWeights } from './load.ts'
import { publishedOf } from './published.ts'
import { zooNameIn } from './zoo.ts'

/** What was found out about a file. */
export interface LoadedFacts {
  /** Whether its bytes have the published checksum. A file that another tool saved can fit all the same. */
  readonly isPublished: boolean
  /** Whether weftgrad builds the network, so that they were loaded into it. */
  readonly isBuilt: boolean
  /** The number of numbers. */
  readonly parameters: number
}

/**
 * Reads all the numbers of a network's weights.
 * @throws WeftgradError 'file', 'format', 'mismatch' or 'data' for a file that does not load.
 */
export async function tryLoading(
  network: string,
  path: string,
  { withTop = false }: { readonly withTop?: boolean } = {},
): Promise<LoadedFacts> {
  const { files } = publishedOf(network)
  const isPublished = hasChecksum(path, files[withTop ? 'withTop' : 'base'].checksum)
  const name = zooNameIn(network)
  const file = await openWeightFile(path)
  try {
    if (name !== undefined) {
      const model = pretrained[name].build({ includeTop: withTop })
      const { read } = assignWeights(model, file)
      for (const weight of model.weights) checkNumbers(path, weight, await read(weight))
      return { isPublished, isBuilt: true, parameters: model.parameterCount }
    }
    const entries = file.groups.flatMap(({ weights }) => weights)
    const read = entries.filter((entry) => isReadable(entry) && !isCounter(entry))
    for (const entry of read) checkNumbers(path, entry, await file.read(entry))
    return { isPublished, isBuilt: false, parameters: read.reduce((sum, { shape }) => sum + elementCount(shape), 0) }
  } finally {
    file.close()
  }
}

const pieceBytes = 2 ** 22

function hasChecksum(path: string, checksum: string): boolean {
  const hash = createHash(hashFor(checksum))
  const file = openHostFile(path)
  try {
    for (let at = 0; at < file.size; at += pieceBytes)
      hash.update(readBytes(file, at, Math.min(pieceBytes, file.size - at)))
  } finally {
    file.close()
  }
  return hash.digest('hex') === checksum
}
