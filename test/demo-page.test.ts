/**
 * The parts of the demo's page that need no device: recognising dropped files, and preparing images for the network.
 */
import { describe, expect, it } from 'vitest'
import { commonKind, kindOf } from '../demo/src/page/file-kind.ts'
import { modelPixels, type Picture, typicalExtent } from '../demo/src/page/picture-pixels.ts'
import { isRefusal } from '../demo/src/page/refusals.ts'

const file = (name: string, size = 1000, type = '') => ({ name, size, type })

function refusalOf(action: () => unknown): string {
  try {
    action()
  } catch (error) {
    if (isRefusal(error)) return error.message
    throw error
  }
  return 'nothing was refused'
}

describe('a dropped file', () => {
  it('is classified by its name, and large weights by their size', () => {
    expect(kindOf(file('lenet.h5'))).toBe('model')
    expect(kindOf(file('LENET.SAFETENSORS'))).toBe('model')
    expect(kindOf(file('weights.h5', 58_889_256))).toBe('photo-network')
    expect(kindOf(file('vgg16_notop.h5'))).toBe('photo-network')
    for (const name of ['train-images-idx3-ubyte', 't10k-labels-idx1-ubyte.gz', 'fashion.csv', 'fashion.csv.gz'])
      expect(kindOf(file(name))).toBe('data')
    expect(kindOf(file('shirt.jpg', 1000, 'image/jpeg'))).toBe('picture')
    expect(kindOf(file('imagenet_class_index.json'))).toBe('class-index')
    expect(kindOf(file('letter.txt', 1000, 'text/plain'))).toBeUndefined()
  })

  it('is accepted together with others for data only', () => {
    expect(commonKind([file('a-images-idx3-ubyte'), file('a-labels-idx1-ubyte')])).toBe('data')
    expect(refusalOf(() => commonKind([file('a.h5'), file('b.h5')]))).toContain('Drop one weights file')
    expect(refusalOf(() => commonKind([file('a.h5'), file('b.csv')]))).toContain(
      'a.h5 and b.csv are of different kinds',
    )
    expect(refusalOf(() => commonKind([file('a.h5'), file('b.txt')]))).toContain('This page cannot use b.txt.')
  })
})

/** A rectangle of one grey on a background of another. */
function picture(
  width: number,
  height: number,
  [left, top, right, bottom]: readonly [number, number, number, number],
  { ground, ink, alpha = 255 }: { ground: number; ink: number; alpha?: number },
): Picture {
  const data = new Uint8ClampedArray(4 * width * height)
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const isInk = x >= left && x < right && y >= top && y < bottom
      const value = isInk ? ink : ground
      data.set([value, value, value, isInk ? 255 : alpha], 4 * (y * width + x))
    }
  return { width, height, data }
}

/** The bounds [left, top, right, bottom] of everything that is not black. */
function extentOf(pixels: Uint8Array): number[] {
  const lit = [...pixels.keys()].filter((i) => (pixels[i] ?? 0) > 0)
  const [columns, rows] = [lit.map((i) => i % 28), lit.map((i) => Math.floor(i / 28))]
  return [Math.min(...columns), Math.min(...rows), Math.max(...columns) + 1, Math.max(...rows) + 1]
}

describe('an image for the network', () => {
  it('is cropped to its subject, scaled and centred', () => {
    const pixels = modelPixels(picture(100, 100, [10, 60, 30, 100], { ground: 0, ink: 255 }), 20)
    expect(extentOf(pixels)).toEqual([9, 4, 19, 24])
    expect(Math.max(...pixels)).toBe(255)
    expect(extentOf(modelPixels(picture(100, 100, [10, 60, 30, 100], { ground: 0, ink: 255 })))).toEqual([7, 0, 21, 28])
  })

  it('gives the same result dark on light, light on dark, and on a transparent background', () => {
    const place = [10, 10, 50, 30] as const
    const bright = modelPixels(picture(60, 40, place, { ground: 30, ink: 200 }))
    expect(modelPixels(picture(60, 40, place, { ground: 230, ink: 60 }))).toEqual(bright)
    expect(modelPixels(picture(60, 40, place, { ground: 0, ink: 60, alpha: 0 }))).toEqual(bright)
    expect(modelPixels(picture(60, 40, place, { ground: 0, ink: 200, alpha: 0 }))).toEqual(bright)
  })

  it('of 28x28 pixels is not moved', () => {
    const pixels = modelPixels(picture(28, 28, [3, 4, 9, 8], { ground: 0, ink: 255 }))
    expect(extentOf(pixels)).toEqual([3, 4, 9, 8])
  })

  it('keeps its proportions when enlarged, however thin', () => {
    expect(extentOf(modelPixels(picture(9, 9, [4, 1, 5, 8], { ground: 0, ink: 255 })))).toEqual([12, 0, 16, 28])
    expect(extentOf(modelPixels(picture(200, 200, [100, 0, 101, 200], { ground: 255, ink: 0 })))).toEqual([
      13, 0, 14, 28,
    ])
  })

  it('with a single brightness is refused', () => {
    for (const value of [0, 128, 255])
      expect(refusalOf(() => modelPixels(picture(40, 40, [0, 0, 0, 0], { ground: value, ink: 0 })))).toContain(
        'This picture is empty',
      )
  })

  it('is scaled to the size of the objects in the data', () => {
    const sized = (extent: number) => modelPixels(picture(28, 28, [4, 4, 4 + extent, 8], { ground: 0, ink: 255 }))
    expect(typicalExtent([sized(20), sized(18), sized(22)])).toBe(20)
    expect(typicalExtent([])).toBe(28)
  })
})
