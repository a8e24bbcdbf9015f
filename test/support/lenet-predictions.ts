/** A LeNet-5 from a file, in a page or a worker. */
import { type Device, nn, weights } from 'weftgrad'

/** The probabilities that a LeNet-5 with the file's weights gives for 28x28 images. Closes the file. */
export async function probabilitiesOf(
  device: Device,
  file: weights.WeightFile,
  images: Uint8Array,
): Promise<Float32Array> {
  using model = nn.lenet5()
  try {
    await weights.loadWeights(model, device, file)
  } finally {
    file.close()
  }
  return await nn.predict(model, images, [28, 28, 1])
}
