/** TensorFlow.js on its CPU backend: the second opinion that operator tests compare with. */
import type tfjs from '@tensorflow/tfjs'

export type TensorFlow = typeof tfjs

/** Loads TensorFlow.js quietly and selects the CPU backend. */
export async function loadTensorFlow(): Promise<TensorFlow> {
  const { default: tf } = await import('@tensorflow/tfjs')
  tf.env().set('IS_TEST', true) // no advice about faster backends on the console
  await tf.setBackend('cpu')
  await tf.ready()
  return tf
}
