/** A data set as a user may write one: rows of numbers with targets of any width. */

import type { Dataset } from '../../src/data/contract.ts'
import { WeftgradError } from '../../src/errors.ts'
import type { Device } from '../../src/gpu/device.ts'
import { gather, reshape, slice } from '../../src/operators/index.ts'
import type { KeptTensor } from '../../src/operators/tensor.ts'
import { tensor } from '../../src/operators/tensor.ts'

export interface Rows {
  readonly x: Float32Array
  readonly y: Float32Array
  readonly sampleWeight?: Float32Array
}

/** The kept tensors' memory is the caller's. */
export async function numberSet(device: Device, { x, y, sampleWeight }: Rows, count: number): Promise<Dataset> {
  const kept = (numbers: Float32Array): Promise<KeptTensor> =>
    tensor(numbers, [count, numbers.length / count]).keep({ device })
  const [inputs, targets] = [await kept(x), await kept(y)]
  const weights = sampleWeight === undefined ? undefined : await kept(sampleWeight)
  const part = (indices: Uint32Array): Dataset => ({
    ...{ device, indices, count: indices.length, shape: inputs.shape.slice(1), classes: undefined },
    labelsOf() {
      throw new WeftgradError('argument', 'there are no class numbers')
    },
    subset: (positions) => part(Uint32Array.from(positions, (i) => indices[i] ?? Number.NaN)),
    refuseMisfits(inputShape, model) {
      if (inputShape[0] !== inputs.shape[1]) throw new WeftgradError('shape', `${model} takes other rows`)
    },
    batch({ batch, tensor: order }, state) {
      const rows = reshape(gather(reshape(order, [-1, batch]), slice(state, [0], [1])), [batch])
      return {
        x: gather(inputs, rows),
        target: gather(targets, rows),
        ...(weights === undefined ? {} : { sampleWeight: reshape(gather(weights, rows), [batch]) }),
      }
    },
  })
  return part(Uint32Array.from({ length: count }, (_, i) => i))
}
