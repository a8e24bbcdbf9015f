/** Callbacks for `fit` that write files. */

import { appendLineDurable, writeFileAtomic } from '../format/atomic-write.node.ts'
import { mostReadableBytes, readHostFile } from '../format/host-file.node.ts'
import { aFlag, checkOptions } from '../options.ts'
import { decodeCheckpoint, encodeCheckpoint } from './checkpoint.ts'
import type { Callbacks, EpochLogs, TrainingCheckpoint } from './contract.ts'

/**
 * Writes the results of each epoch to a CSV file, a column for each; the first line has their names. Overwrites the file when
 * training begins; with `append`, adds to it instead, for a resumed training.
 * @throws WeftgradError, in training, 'file' if the file cannot be written.
 */
export function csvLog(path: string, options: { readonly append?: boolean } = {}): Callbacks {
  const { append = false } = checkOptions('csvLog', options, { append: aFlag })
  let isBegun = append
  return {
    async onEpochEnd(logs: EpochLogs) {
      const row = Object.values(logs).join(',')
      if (isBegun) await appendLineDurable(path, row)
      else await writeFileAtomic(path, `${Object.keys(logs).join(',')}\n${row}\n`)
      isBegun = true
    },
  }
}

/**
 * Writes a checkpoint to a file after each epoch, and when training is stopped, whole or not at all. Pass what {@link
 * readCheckpoint} reads from it to `fit` as `resume`.
 * @throws WeftgradError, in training, 'file' if the file cannot be written.
 */
export function checkpointFile(path: string): Callbacks {
  return { onCheckpoint: (checkpoint) => writeFileAtomic(path, encodeCheckpoint(checkpoint)) }
}

/**
 * Reads the checkpoint of a file that {@link checkpointFile} wrote.
 * @throws WeftgradError 'file' if it cannot be read, else as `decodeCheckpoint`.
 */
export function readCheckpoint(path: string): TrainingCheckpoint {
  return decodeCheckpoint(readHostFile(path, mostReadableBytes), path)
}
