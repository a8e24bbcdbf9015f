/** The jobs that tests send to a worker. Pages run the same code. */
import { expose } from 'comlink'
import { open, WeftgradError, weights } from 'weftgrad'
import { failuresOf } from '../support/case-failures.ts'
import { probabilitiesOf } from '../support/lenet-predictions.ts'
import { type ShortTraining, shortTraining } from '../support/short-training.ts'

/**
 * Opening starts at once, and calls that come earlier wait for it. With a top-level await, the module would miss them.
 */
const device = open()

const jobs = {
  train: async (): Promise<ShortTraining> => await shortTraining(await device),

  failuresOf: async () => await failuresOf(await device),

  /**
   * The probabilities of some images by a LeNet-5 with a file's weights, or the error's code if the file is refused.
   */
  async predict(file: Blob, images: Uint8Array): Promise<Float32Array | string> {
    try {
      return await probabilitiesOf(await device, await weights.open(file), images)
    } catch (error) {
      if (error instanceof WeftgradError) return error.code
      throw error
    }
  },

  /** Opens a weights file and reads its last tensor: its numbers, and how many bytes the browser was asked for. */
  async readLast(file: Blob): Promise<{ readonly numbers: Float32Array; readonly bytesAsked: number }> {
    let bytesAsked = 0
    // Blobs are only read in slices.
    const { slice } = Blob.prototype
    Blob.prototype.slice = function (this: Blob, start = 0, end = this.size, type?: string) {
      bytesAsked += end - start
      return slice.call(this, start, end, type)
    }
    try {
      const opened = await weights.open(file)
      const entry = opened.groups.at(-1)?.weights.at(-1)
      if (entry === undefined) throw new Error('the file has no tensors')
      const numbers = await opened.read(entry)
      opened.close()
      return { numbers, bytesAsked }
    } finally {
      Blob.prototype.slice = slice
    }
  },
}

export type Jobs = typeof jobs
expose(jobs)
