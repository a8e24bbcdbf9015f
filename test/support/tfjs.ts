/** TensorFlow.js on its CPU backend, for comparison in operator tests. */
import type tfjs from '@tensorflow/tfjs'
import type { Tensor } from '@tensorflow/tfjs'

export type TensorFlow = typeof tfjs

/** Loads TensorFlow.js quietly and selects the CPU backend. */
export async function loadTensorFlow(): Promise<TensorFlow> {
  const { default: tf } = await import('@tensorflow/tfjs')
  tf.env().set('IS_TEST', true) // no advice about faster backends on the console
  await tf.setBackend('cpu')
  await tf.ready()
  return tf
}

/** Converts numbers to TensorFlow.js' tensors; whole ones are int32. */
export function tensorFlowTensor(
  tf: TensorFlow,
  { data, shape }: { readonly data: Float32Array | Uint32Array | Uint8Array; readonly shape: readonly number[] },
): Tensor {
  return data instanceof Float32Array
    ? tf.tensor(data, [...shape], 'float32')
    : tf.tensor(Int32Array.from(data), [...shape], 'int32')
}
