/** Keras' LeNet-5 in test/fixtures/models, as a browser sees it: files, and Keras' predictions for some images. */
import { commands } from 'vitest/browser'
import { readSafetensors } from '../../src/format/safetensors.ts'

export const bytesOfBase64 = (text: string): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(atob(text), (character) => character.charCodeAt(0))

/** Loads a file of the folder, as if a person had dropped it. */
export async function fixtureFile(name: string): Promise<File> {
  const text = await commands.readFile(`test/fixtures/models/${name}`, { encoding: 'base64' })
  return new File([bytesOfBase64(text)], name.split('/').at(-1) ?? name)
}

export interface ExpectedPredictions {
  readonly images: Uint8Array
  readonly probabilities: Float32Array
}

export async function expectedPredictions(): Promise<ExpectedPredictions> {
  const file = await fixtureFile('expected.safetensors')
  const { tensors } = readSafetensors(new Uint8Array(await file.arrayBuffer()))
  const [images, probabilities] = [tensors.get('images'), tensors.get('probabilities')]
  if (images?.dtype !== 'U8' || probabilities?.dtype !== 'F32') throw new Error('expected.safetensors is another file')
  return { images: images.data, probabilities: probabilities.data }
}
