/** The panel of the first layer: its kernels, and their activations for the watched image. */
import { decimal } from '../../../src/numbers.ts'
import type { FirstLayer } from '../session.ts'
import { findAny, make } from './elements.ts'
import { throttled } from './frames.ts'
import { channelOf, largest, mean, paintGrey, paintSigned, smallest } from './pixel-canvas.ts'

export class InsidePanel {
  #layer: FirstLayer | undefined
  #kernels: readonly HTMLCanvasElement[] = []
  #activations: readonly HTMLCanvasElement[] = []

  show(layer: FirstLayer): void {
    this.#layer = layer
    this.#draw()
  }

  readonly #draw = throttled(() => {
    if (this.#layer === undefined) return
    const { kernelShape, kernels, activationShape, activations } = this.#layer
    const filters = kernelShape[3]
    if (this.#kernels.length !== filters) {
      this.#kernels = canvases('#kernels', filters)
      this.#activations = canvases('#activations', filters)
    }
    const extreme = Math.max(largest(kernels), -smallest(kernels))
    const brightest = Math.max(largest(activations), Number.EPSILON)
    for (const [k, canvas] of this.#kernels.entries()) {
      // The image has one channel, so a filter's plane is the whole filter.
      const own = channelOf(kernels, kernelShape[2] * filters, k)
      paintSigned(canvas, own, kernelShape[1], kernelShape[0], extreme)
      canvas.setAttribute(
        'aria-label',
        `Kernel ${k + 1} of ${filters}: weights from ${decimal(smallest(own), 2)} to ${decimal(largest(own), 2)}`,
      )
    }
    for (const [k, canvas] of this.#activations.entries()) {
      const own = channelOf(activations, activationShape[2], k)
      paintGrey(
        canvas,
        own.map((value) => (255 * value) / brightest),
        activationShape[1],
        activationShape[0],
      )
      canvas.setAttribute(
        'aria-label',
        `Activations of kernel ${k + 1}: ${decimal(mean(own), 2)} on average, ${decimal(largest(own), 2)} at most`,
      )
    }
  }, 500)
}

function canvases(list: string, count: number): HTMLCanvasElement[] {
  const made = Array.from({ length: count }, () => make('canvas', { class: 'pixels', role: 'img' }))
  findAny(list).replaceChildren(...made.map((canvas) => make('li', {}, canvas)))
  return made
}
