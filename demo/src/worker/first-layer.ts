/** Runs one image through the network: its class probabilities, and the activations of the first layer. */
import { div, evaluate, type nn, pad, softmax, tensor, WeftgradError } from 'weftgrad'
import { pixelsPerImage } from '../../sample/layout.ts'
import type { ImageResult } from '../session.ts'

/** @throws WeftgradError 'shape' for anything but 28x28 bytes. */
export function checkImage(pixels: Uint8Array): void {
  if (pixels.length !== pixelsPerImage)
    throw new WeftgradError(
      'shape',
      `An image must have 28x28 grey pixels, ${pixelsPerImage} bytes, not ${pixels.length}.`,
    )
}

/** All numbers belong to the same moment, even during training: they come from one submission. */
export async function lookAt(model: nn.Model, pixels: Uint8Array): Promise<ImageResult> {
  checkImage(pixels)
  const [first] = model.layers
  const kernel = first?.weights[0]
  const last = model.layers.at(-1)
  if (first === undefined || kernel === undefined || last === undefined) throw new RangeError('a LeNet-5 has layers')
  const image = div(tensor(Float32Array.from(pixels), [1, 28, 28, 1]), 255)
  const border = [2, 2] as const
  const padded = pad(image, [[0, 0], border, border, [0, 0]])
  const [activations, logits] = model.features(padded, [first.layer.name, last.layer.name])
  if (activations === undefined || logits === undefined) throw new RangeError('two layers have two outputs')
  const [probabilities, maps, kernels] = await evaluate([softmax(logits), activations, kernel.tensor])
  const [height = 0, width = 0, filters = 0] = first.outputShape
  const [kernelHeight = 0, kernelWidth = 0, channels = 0] = kernel.shape
  return {
    probabilities: Float32Array.from(probabilities ?? []),
    firstLayer: {
      kernelShape: [kernelHeight, kernelWidth, channels, filters],
      kernels: Float32Array.from(kernels ?? []),
      activationShape: [height, width, filters],
      activations: Float32Array.from(maps ?? []),
    },
  }
}
