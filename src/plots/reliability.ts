/**
 * A reliability diagram: how often a classifier is right against how probable it says its predictions are. A dot per
 * bin, larger for more images; the dashed line is perfect calibration.
 */
import { blue, grey } from './colors.ts'
import { figure, figureWidth, Plot, svgText } from './figure.ts'

/** Images with about the same confidence; shares in [0, 1]. Bins without images are left out. */
export interface ReliabilityBin {
  readonly images: number
  /** Mean probability of the predicted class; null for an empty bin. */
  readonly confidence: number | null
  /** Share of correct predictions. */
  readonly accuracy: number | null
}

const radii = [2.5, 9] as const

export function reliabilityDiagram(bins: readonly ReliabilityBin[]): string {
  const filled = bins.flatMap(({ images, confidence, accuracy }) =>
    confidence === null || accuracy === null ? [] : [{ images, x: 100 * confidence, y: 100 * accuracy }],
  )
  const most = Math.max(1, ...filled.map(({ images }) => images))
  const told = ({ images, x, y }: (typeof filled)[number]): string =>
    `${images} images with a mean probability of ${x.toFixed(1)} %: ${y.toFixed(1)} % right`
  const axis = { domain: [0, 100], ticks: 6 }
  const drawn = figure({
    label: `accuracy against confidence: ${filled.map(told).join('; ')}`,
    width: figureWidth,
    height: 400,
    marginLeft: 52,
    marginRight: 16,
    marginTop: 20,
    marginBottom: 40,
    legend: [
      { text: 'images of a bin', color: blue, kind: 'dot' },
      { text: 'perfect calibration', color: grey, kind: 'dashes' },
    ],
    x: { ...axis, label: 'probability of the prediction (%)' },
    y: { ...axis, label: 'right (%)', labelAnchor: 'center', labelArrow: 'none', grid: true },
    r: { type: 'identity' },
    marks: [
      Plot.link([0], { x1: 0, y1: 0, x2: 100, y2: 100, stroke: grey, strokeWidth: 1.5, strokeDasharray: '4 3' }),
      Plot.line(filled, { x: 'x', y: 'y', stroke: blue, strokeWidth: 1.5 }),
      Plot.dot(filled, {
        ...{ x: 'x', y: 'y', fill: blue, title: told },
        // The area grows with the number of images.
        r: ({ images }: (typeof filled)[number]) => Math.max(radii[0], radii[1] * Math.sqrt(images / most)),
      }),
    ],
  })
  return svgText(drawn)
}
