/** A picture, inlined as PNG, in a frame with labelled rows and columns. */
import { divergingColor } from './colors.ts'
import { figure, Plot, svgText } from './figure.ts'
import { pngDataUri } from './pictures.ts'

export interface PictureGrid {
  /** A description for screen readers. */
  readonly label: string
  readonly png: Uint8Array
  /** The picture's extent, in pixels. */
  readonly width: number
  readonly height: number
  /** One label per row of the grid. */
  readonly rows: readonly string[]
  /** One label per column, above; empty for a column without a name. */
  readonly columns: readonly string[]
}

/** Draws a grid of images, as `imageGrid` makes it, with labelled rows and columns. */
export function pictureGrid({ label, png, width, height, rows, columns }: PictureGrid): string {
  const frame = { width: 480, marginLeft: 92, marginRight: 4, marginTop: 24, marginBottom: 4 }
  const shown = frame.width - frame.marginLeft - frame.marginRight
  const names = (all: readonly string[]) =>
    all.flatMap((text, i) => (text === '' ? [] : [{ text, at: (i + 0.5) / all.length }]))
  const drawn = figure({
    ...{ label, ...frame },
    height: Math.round((shown * height) / width) + frame.marginTop + frame.marginBottom,
    x: { axis: null, domain: [0, 1] },
    y: { axis: null, domain: [1, 0] },
    marks: [
      inlined(png, shown, Math.round((shown * height) / width)),
      Plot.text(names(rows), { y: 'at', text: 'text', frameAnchor: 'left', textAnchor: 'end', dx: -8 }),
      Plot.text(names(columns), { x: 'at', text: 'text', frameAnchor: 'top', dy: -10 }),
    ],
  })
  return svgText(drawn)
}

export interface CorrelationHeatmap {
  /** The matrix as a picture from `matrixPicture`. */
  readonly png: Uint8Array
  /** Height of the images whose pixels are correlated. */
  readonly height: number
  readonly width: number
}

/**
 * Draws the correlations of all pixels; the axes count the rows of the image, which follow each other in the matrix.
 */
export function correlationHeatmap({ png, height, width }: CorrelationHeatmap): string {
  const size = 400
  const frame = { marginLeft: 44, marginRight: 12, marginTop: 44, marginBottom: 40 }
  const step = Math.max(1, Math.ceil(height / 7))
  const ticks = Array.from({ length: Math.ceil(height / step) }, (_, i) => i * step)
  const axis = { domain: [0, height], ticks, tickFormat: String }
  const ramp = Array.from({ length: 41 }, (_, i) => (i - 20) / 20)
  const cell = 4
  const rampLeft = frame.marginLeft + size - ramp.length * cell
  const drawn = figure({
    label: `correlation of each of ${height * width} pixels with every other: from blue, -1, through white, 0, to orange, 1`,
    width: size + frame.marginLeft + frame.marginRight,
    height: size + frame.marginTop + frame.marginBottom,
    ...frame,
    x: { ...axis, label: 'row of the image' },
    y: { ...axis, reverse: true, label: 'row of the image', labelAnchor: 'center', labelArrow: 'none' },
    marks: [inlined(png, size, size)],
  })
  const colors = ramp.map((value, i) => {
    const [red, green, blue] = divergingColor(value)
    return `<rect x="${rampLeft + i * cell}" y="6" width="${cell}" height="10" fill="rgb(${red},${green},${blue})"/>`
  })
  const values = [-1, 0, 1].map(
    (value) => `<text x="${rampLeft + ((value + 1) / 2) * ramp.length * cell}" y="30">${value}</text>`,
  )
  return svgText({ ...drawn, content: `${drawn.content}<g data-mark="ramp">${colors.join('')}${values.join('')}</g>` })
}

/** The picture, filling the frame. */
function inlined(png: Uint8Array, width: number, height: number): Plot.Markish {
  return Plot.image([pngDataUri(png)], {
    ...{ src: (address: string) => address, frameAnchor: 'middle', width, height },
    preserveAspectRatio: 'none',
  })
}
