/** A LeNet-5 out of a file, in a page or a worker. */
import { type Device, nn, weights } from 'weftgrad'

/** What a LeNet-5 with the file's weights says of images of 28x28; closes the file. */
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
