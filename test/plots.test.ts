/** Plots of the study: SVG that any parser accepts, with as many marks as there are data, whatever the data. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodePng, encodePng } from '../src/format/png.ts'
import { accuracyCost } from '../src/plots/accuracy-cost.ts'
import { classCounts } from '../src/plots/class-counts.ts'
import { divergingColor, greyRgb, seriesColors } from '../src/plots/colors.ts'
import { confusionMatrix } from '../src/plots/confusion-matrix.ts'
import { correlationHeatmap, pictureGrid } from '../src/plots/labelled-picture.ts'
import { type ModelScore, modelComparison } from '../src/plots/model-comparison.ts'
import { parallelCoordinates, type TrialLine } from '../src/plots/parallel-coordinates.ts'
import { imageGrid, matrixPicture, pngDataUri } from '../src/plots/pictures.ts'
import { reliabilityDiagram } from '../src/plots/reliability.ts'
import { type CurveRun, trainingCurves, trainingCurvesFile } from '../src/plots/training-curves.ts'
import { elementsOf, marksOf, parseSvg, type SvgElement, textOf } from './support/svg.ts'

/** Parses the SVG, and checks what every plot promises. */
function checked(svg: string): SvgElement {
  const root = parseSvg(svg)
  const { viewBox, role, xmlns } = root.attributes
  expect({ role, xmlns }).toEqual({ role: 'img', xmlns: 'http://www.w3.org/2000/svg' })
  expect(root.attributes['aria-label']?.length).toBeGreaterThan(10)
  expect(viewBox).toBe(`0 0 ${root.attributes.width} ${root.attributes.height}`)
  const everything = [root, ...elementsOf(root, () => true)]
  for (const { name, attributes } of everything) {
    expect(attributes).not.toHaveProperty('id')
    expect(['script', 'a', 'foreignObject']).not.toContain(name)
    for (const [key, value] of Object.entries(attributes)) {
      if (value.startsWith('data:image/png;base64,')) continue
      if (key !== 'xmlns') expect(value).not.toMatch(/https?:|url\(/)
      expect(value, key).not.toMatch(/NaN|Infinity|undefined|null/)
    }
  }
  expect(textOf(root)).not.toMatch(/NaN|Infinity|undefined|null/)
  return root
}

const run = (count: number, name = 'run', loss: (epoch: number) => number = (epoch) => 1 / epoch): CurveRun => ({
  name,
  epochs: Array.from({ length: count }, (_, i) => ({
    epoch: i + 1,
    loss: loss(i + 1),
    accuracy: 1 - 1 / (i + 2),
    validationLoss: loss(i + 1) + 0.1,
    validationAccuracy: 0.9 - 1 / (i + 2),
  })),
})

describe('training curves', () => {
  it('of one run show training and validation, each epoch and the best one', () => {
    const root = checked(trainingCurves([{ ...run(12), bestEpoch: 5 }], 'loss'))
    expect(marksOf(root, 'line')).toHaveLength(2)
    expect(marksOf(root, 'dot')).toHaveLength(24)
    expect(marksOf(root, 'rule')).toHaveLength(1)
    expect(textOf(root)).toContain('best epoch: 5')
    expect(textOf(root)).toContain('validation, epoch 2: loss 0.6000')
    expect(marksOf(root, 'x-axis tick label').map(({ text }) => text)).toEqual(
      Array.from({ length: 12 }, (_, i) => String(i + 1)),
    )
  })

  it('of folds have one colour per fold, named in the legend', () => {
    const root = checked(
      trainingCurves(
        [1, 2, 3, 4, 5].map((k) => run(8, `fold ${k}`)),
        'accuracy',
      ),
    )
    expect(marksOf(root, 'line')).toHaveLength(10)
    expect(marksOf(root, 'dot')).toHaveLength(40)
    const legend = elementsOf(root, ({ attributes }) => attributes['data-mark'] === 'legend').map(textOf)
    expect(legend.map((text) => text.trim())).toEqual([
      ...['fold 1', 'fold 2', 'fold 3', 'fold 4', 'fold 5', 'training', 'validation'],
    ])
    expect(textOf(root)).toContain('fold 3, validation, epoch 1: accuracy (%) 40.00')
  })

  it('without validation show only training', () => {
    const epochs = run(3).epochs.map(({ epoch, loss, accuracy }) => ({ epoch, loss, accuracy }))
    const root = checked(trainingCurves([{ name: 'run', epochs }], 'accuracy'))
    expect(marksOf(root, 'line')).toHaveLength(1)
    expect(textOf(root)).not.toContain('validation')
  })

  it('can be drawn for one epoch, equal values, many epochs and values that are not finite', () => {
    for (const one of [
      run(1),
      run(2, 'run', () => 0.5),
      run(3, 'run', () => Number.NaN),
      run(3, 'run', (epoch) => (epoch === 2 ? Number.POSITIVE_INFINITY : epoch)),
      run(2, 'run', (epoch) => (epoch === 1 ? 0 : 1e9)),
      run(500),
    ])
      for (const quantity of ['loss', 'accuracy'] as const) checked(trainingCurves([one], quantity))
    expect(marksOf(checked(trainingCurves([run(500)], 'loss')), 'dot')).toHaveLength(0)
    expect(marksOf(checked(trainingCurves([run(500)], 'loss')), 'x-axis tick label').length).toBeLessThan(13)
  })

  it('need at least one epoch', () => {
    for (const runs of [[], [run(0)], [run(0), run(0)]])
      expect(() => trainingCurves(runs, 'loss')).toThrow(expect.objectContaining({ code: 'argument' }))
    expect(() => trainingCurvesFile(run(0))).toThrow(expect.objectContaining({ code: 'argument' }))
  })

  it('in a file are side by side, with their title and a dark background for dark screens', () => {
    const root = checked(trainingCurvesFile({ ...run(4, 'a < b & "c"'), bestEpoch: 2 }))
    expect(elementsOf(root, ({ name }) => name === 'svg')).toHaveLength(2)
    expect(marksOf(root, 'dot')).toHaveLength(16)
    expect(root.children.find(({ name }) => name === 'text')?.text).toBe('a < b & "c"')
    expect(root.children.find(({ name }) => name === 'style')?.text).toContain('prefers-color-scheme: dark')
  })

  it('are the same text for the same run', () => {
    expect(trainingCurves([run(5)], 'loss')).toBe(trainingCurves([run(5)], 'loss'))
  })
})

describe('class counts', () => {
  it('have a bar for each class of each set, and its number', () => {
    const names = ['T-shirt/top', 'Trouser', 'Bag']
    const sets = [
      { name: 'train', counts: [6000, 5999, 1] },
      { name: 'test', counts: [1000, 0, 7] },
    ]
    const root = checked(classCounts(sets, names))
    expect(elementsOf(root, ({ name }) => name === 'rect')).toHaveLength(6)
    for (const text of [...names, '6,000', '5,999', '1,000', 'train', 'test']) expect(textOf(root)).toContain(text)
    checked(classCounts([{ name: 'nothing', counts: [0, 0, 0] }], names))
  })
})

describe('a confusion matrix', () => {
  it('has a cell for each pair of classes, and a number where there is one', () => {
    const confusion = [
      [9, 1, 0],
      [0, 0, 0],
      [2, 0, 8],
    ]
    const root = checked(confusionMatrix(confusion, ['a', 'b<c', 'd']))
    expect(marksOf(root, 'cell')).toHaveLength(9)
    expect(marksOf(root, 'text').map(({ text }) => text)).toEqual(['9', '1', '2', '8'])
    expect(textOf(root)).toContain('d taken for a: 2 (20.0 %)')
    expect(root.attributes['aria-label']).toContain('17 of 20')
    const opacities = marksOf(root, 'cell').map(({ attributes }) => Number(attributes['fill-opacity']))
    expect(Math.max(...opacities)).toBeLessThanOrEqual(0.75)
    expect(opacities[0]).toBeGreaterThan(opacities[1] ?? 1)
  })
})

describe('parallel coordinates', () => {
  const trials: TrialLine[] = Array.from({ length: 18 }, (_, i) => ({
    name: String(i),
    hyperparameters: {
      units_1: [128, 256][i % 2] ?? 0,
      units_2: [32, 64, 128][i % 3] ?? 0,
      learning_rate: [1e-2, 1e-3, 1e-4][Math.floor(i / 6)] ?? 0,
      activation: 'relu',
    },
    objective: i === 17 ? null : 0.8 + i / 100,
    stopped: i % 4 !== 0,
  }))

  it('have an axis for each hyperparameter and one for the objective, and a line for each trial', () => {
    const root = checked(parallelCoordinates({ trials, objective: 'validation accuracy', best: '16' }))
    expect(marksOf(root, 'rule')).toHaveLength(5)
    expect(marksOf(root, 'line')).toHaveLength(18)
    expect(textOf(root)).toContain('trial 16: units_1 128, units_2 64, learning_rate 1e-4')
    expect(textOf(root)).toContain('no validation accuracy; stopped early')
    for (const text of ['1e-2', '1e-3', '256', 'relu', '0.9600', '0.8000']) expect(textOf(root)).toContain(text)
    const dashed = elementsOf(root, (one) => one.attributes['stroke-dasharray'] !== undefined && one.name === 'g')
    expect(dashed.filter((one) => one.attributes['data-mark'] === 'line')).toHaveLength(13)
  })

  it('can be drawn for one trial, equal objectives and no objectives', () => {
    checked(parallelCoordinates({ trials: trials.slice(0, 1), objective: 'accuracy' }))
    checked(parallelCoordinates({ trials: trials.slice(17), objective: 'accuracy' }))
    checked(parallelCoordinates({ trials: trials.map((one) => ({ ...one, objective: 0.5 })), objective: 'accuracy' }))
  })

  it('refuse trials of different spaces', () => {
    const [first] = trials
    if (first === undefined) throw new Error('there are trials')
    for (const odd of [[], [first, { ...first, hyperparameters: { units_1: 1 } }]])
      expect(() => parallelCoordinates({ trials: odd, objective: 'accuracy' })).toThrow(
        expect.objectContaining({ code: 'argument' }),
      )
  })
})

describe('a comparison of models', () => {
  const models: ModelScore[] = [
    { name: 'LeNet-5', accuracy: 0.8996, low: 0.8936, high: 0.9053, reference: 0.91 },
    { name: 'VGG16', accuracy: 0.88, low: 0.8735, high: 0.8862, reference: undefined },
    { name: 'Xception', accuracy: 1, low: 0.9996, high: 1, reference: 0.85 },
  ]

  it('has a dot and an interval for each, rings for published figures, and the numbers', () => {
    const root = checked(modelComparison({ models, referenceName: 'notebook' }))
    expect(marksOf(root, 'link')).toHaveLength(3)
    expect(marksOf(root, 'dot')).toHaveLength(5)
    expect(textOf(root)).toContain('89.96 %')
    expect(textOf(root)).toContain('95 % interval 89.36 to 90.53 %')
    expect(textOf(root)).toContain('notebook, Xception: 85.00 %')
  })

  it('needs no reference', () => {
    checked(modelComparison({ models: models.map((model) => ({ ...model, reference: Number.NaN })) }))
    const root = checked(modelComparison({ models: models.slice(1, 2) }))
    expect(textOf(root)).not.toContain('reference')
  })

  it('refuses models without figures', () => {
    for (const bad of [[], [{ name: 'a', accuracy: Number.NaN, low: 0, high: 1 }]])
      expect(() => modelComparison({ models: bad })).toThrow(expect.objectContaining({ code: 'argument' }))
  })
})

describe('images', () => {
  it('put images into a grid, enlarged, and leave absent ones black', () => {
    const images = [Uint8Array.of(1, 2, 3, 4), undefined, Uint8Array.of(5, 6, 7, 8)]
    const grid = imageGrid(images, { width: 2, height: 2, columns: 2, scale: 1 })
    expect(grid).toMatchObject({ width: 6, height: 6, channels: 1 })
    expect([...grid.data]).toEqual([
      ...[1, 2, 0, 0, 0, 0],
      ...[3, 4, 0, 0, 0, 0],
      ...new Array(12).fill(0),
      ...[5, 6, 0, 0, 0, 0],
      ...[7, 8, 0, 0, 0, 0],
    ])
    const enlarged = imageGrid(images, { width: 2, height: 2, columns: 3 })
    expect(enlarged).toMatchObject({ width: 20, height: 4 })
    expect([...enlarged.data.subarray(0, 4), ...enlarged.data.subarray(20, 24)]).toEqual([1, 1, 2, 2, 1, 1, 2, 2])
  })

  it('colour a matrix, grey where it is undefined', () => {
    const picture = matrixPicture(Float32Array.of(1, -1, 0, -1, 1, 0, 0, 0, 0), 3, [2])
    const at = (i: number) => [...picture.data.subarray(3 * i, 3 * i + 3)]
    expect([0, 1, 2, 8].map(at)).toEqual([divergingColor(1), divergingColor(-1), greyRgb, greyRgb].map((c) => [...c]))
    expect(divergingColor(0)).toEqual([0xf5, 0xf5, 0xf5])
    expect(divergingColor(1.5)).toEqual(divergingColor(1))
  })

  it('are inlined byte for byte, however many bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        const [, base64] = pngDataUri(bytes).split('data:image/png;base64,')
        expect(Buffer.from(base64 ?? '?', 'base64')).toEqual(Buffer.from(bytes))
      }),
      { seed: 1 },
    )
    const long = Uint8Array.from({ length: 100_000 }, (_, i) => i % 251)
    expect(pngDataUri(long)).toBe(`data:image/png;base64,${Buffer.from(long).toString('base64')}`)
  })

  const png = encodePng({ width: 4, height: 4, channels: 1, data: new Uint8Array(16) })
  const inlined = (root: SvgElement): SvgElement[] => elementsOf(root, ({ name }) => name === 'image')
  const pngIn = (root: SvgElement): Uint8Array =>
    Buffer.from(inlined(root)[0]?.attributes.href?.split('base64,')[1] ?? '', 'base64')

  it('are framed, with names at rows and columns', () => {
    const grid = {
      label: 'images of classes',
      png,
      width: 4,
      height: 4,
      rows: ['a & b', 'c'],
      columns: ['mean', '', ''],
    }
    const root = checked(pictureGrid(grid))
    expect(inlined(root)).toHaveLength(1)
    expect(decodePng(pngIn(root))).toMatchObject({ width: 4, height: 4 })
    expect(marksOf(root, 'text').map(({ text }) => text)).toEqual(['a & b', 'c', 'mean'])
  })

  it('become a heatmap with the rows of the image on its axes, and a colour legend', () => {
    const root = checked(correlationHeatmap({ png, height: 28, width: 28 }))
    expect(decodePng(pngIn(root))).toMatchObject({ width: 4, height: 4 })
    const labels = marksOf(root, 'x-axis tick label').map(({ text }) => text)
    expect(labels).toEqual(['0', '4', '8', '12', '16', '20', '24'])
    expect(marksOf(root, 'ramp').filter(({ name }) => name === 'rect')).toHaveLength(41)
    checked(correlationHeatmap({ png, height: 2, width: 2 }))
  })
})

describe('the colours', () => {
  /** Relative luminance, WCAG 2.2. */
  const luminance = (hex: string): number => {
    const [red = 0, green = 0, blue = 0] = [1, 3, 5].map((at) => {
      const value = Number.parseInt(hex.slice(at, at + 2), 16) / 255
      return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4
    })
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
  }

  it.each(seriesColors)('%s can be seen on light and on dark pages', (color) => {
    for (const paper of ['#ffffff', '#0d1117']) {
      const [darker = 0, lighter = 0] = [luminance(color), luminance(paper)].sort((a, b) => a - b)
      expect((lighter + 0.05) / (darker + 0.05)).toBeGreaterThan(3)
    }
  })
})

describe('a reliability diagram', () => {
  const bin = (images: number, confidence: number | null, accuracy: number | null) => ({ images, confidence, accuracy })

  it('has a dot for each bin with images, larger for more, and the line of perfect calibration', () => {
    const root = checked(reliabilityDiagram([bin(0, null, null), bin(90, 0.95, 0.9), bin(10, 0.4, 0.5)]))
    const dots = marksOf(root, 'dot')
    expect(dots).toHaveLength(2)
    expect(textOf(root)).toContain('90 images with a mean probability of 95.0 %: 90.0 % right')
    const radii = dots.map(({ attributes }) => Number(attributes.r))
    expect(Math.max(...radii)).toBeGreaterThan(2 * Math.min(...radii))
    expect(marksOf(root, 'link')).toHaveLength(1)
  })

  it('can be drawn without an image', () => {
    expect(marksOf(checked(reliabilityDiagram([bin(0, null, null)])), 'dot')).toHaveLength(0)
  })
})

describe('accuracy against cost', () => {
  const one = (name: string, cost: number) => ({ name, accuracy: 0.9, low: 0.89, high: 0.91, cost })

  it('has a dot, an interval and a name for each model, over labelled powers of ten', () => {
    const root = checked(accuracyCost([one('small', 62_806), one('large <b>', 2_134_602)], 'parameters'))
    expect(marksOf(root, 'dot')).toHaveLength(2)
    expect(textOf(root)).toContain('large <b>: 90.00 % with 2,134,602 parameters')
    const ticks = marksOf(root, 'x-axis tick label').map(({ text }) => text)
    expect(ticks).toEqual(['10 k', '100 k', '1 M', '10 M'])
  })

  it('needs models with a cost', () => {
    for (const models of [[], [one('free', 0)], [one('unknown', Number.NaN)]])
      expect(() => accuracyCost(models, 'parameters')).toThrow(expect.objectContaining({ code: 'argument' }))
  })
})
