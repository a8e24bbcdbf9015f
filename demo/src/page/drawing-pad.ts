/** The canvas to draw on, white on black, with mouse, pen or finger. Shapes can be filled, as garments are. */
import { findButton, findCanvas, findInput } from './elements.ts'
import type { Picture } from './picture-pixels.ts'

/** Darker than the outline: cloth is darker than its seams. */
const fillColor = '#b4b4b4'

export class DrawingPad {
  readonly #canvas = findCanvas('#pad')
  readonly #context: CanvasRenderingContext2D
  readonly #fill = findInput('#pad-fill')
  readonly #width = findInput('#pad-width')
  readonly #changed: (picture: Picture) => void
  #stroke: { x: number; y: number }[] = []
  #pointer: number | undefined

  /** @param changed gets the drawing after every stroke. */
  constructor(changed: (picture: Picture) => void) {
    this.#changed = changed
    const context = this.#canvas.getContext('2d', { willReadFrequently: true })
    if (context === null) throw new Error('This browser gives the page no canvas to draw on.')
    this.#context = context
    this.clear()
    this.#canvas.addEventListener('pointerdown', (event) => this.#begin(event))
    this.#canvas.addEventListener('pointermove', (event) => this.#go(event))
    for (const end of ['pointerup', 'pointercancel'] as const)
      this.#canvas.addEventListener(end, (event) => this.#end(event))
    findButton('#pad-clear').addEventListener('click', () => this.clear())
  }

  clear(): void {
    this.#context.fillStyle = '#000'
    this.#context.fillRect(0, 0, this.#canvas.width, this.#canvas.height)
    this.#canvas.classList.remove('drawn')
  }

  #begin(event: PointerEvent): void {
    if (this.#pointer !== undefined || event.button !== 0) return
    this.#pointer = event.pointerId
    this.#canvas.setPointerCapture(event.pointerId)
    this.#canvas.classList.add('drawn')
    this.#stroke = [this.#place(event)]
    // A tap is a dot.
    this.#line(this.#place(event), this.#place(event))
  }

  #go(event: PointerEvent): void {
    if (event.pointerId !== this.#pointer) return
    const moves = event.getCoalescedEvents()
    for (const move of moves.length > 0 ? moves : [event]) {
      const before = this.#stroke.at(-1)
      const here = this.#place(move)
      if (before !== undefined) this.#line(before, here)
      this.#stroke.push(here)
    }
  }

  #end(event: PointerEvent): void {
    if (event.pointerId !== this.#pointer) return
    this.#pointer = undefined
    if (this.#fill.checked) this.#fillShape()
    const { width, height } = this.#canvas
    this.#changed(this.#context.getImageData(0, 0, width, height))
  }

  #line(from: { x: number; y: number }, to: { x: number; y: number }): void {
    const context = this.#context
    context.strokeStyle = '#fff'
    context.lineWidth = this.#width.valueAsNumber
    context.lineCap = 'round'
    context.beginPath()
    context.moveTo(from.x, from.y)
    context.lineTo(to.x, to.y)
    context.stroke()
  }

  #fillShape(): void {
    const context = this.#context
    const shape = new Path2D()
    for (const { x, y } of this.#stroke) shape.lineTo(x, y)
    shape.closePath()
    context.fillStyle = fillColor
    context.fill(shape)
    context.stroke(shape)
  }

  /** The position in canvas pixels, whatever size the page shows it at. */
  #place(event: PointerEvent): { x: number; y: number } {
    const { left, top, width, height } = this.#canvas.getBoundingClientRect()
    return {
      x: ((event.clientX - left) / width) * this.#canvas.width,
      y: ((event.clientY - top) / height) * this.#canvas.height,
    }
  }
}
