import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { WeftgradError } from '../src/errors.ts'
import { type LabelledCsvOptions, parseLabelledCsv } from '../src/format/csv.ts'

const header = (pixels: number): string =>
  ['label', ...Array.from({ length: pixels }, (_, i) => `pixel${i + 1}`)].join(',')

const parse = (text: string, options: LabelledCsvOptions = {}) =>
  parseLabelledCsv(new TextEncoder().encode(text), { pixels: 3, source: 'x.csv', ...options })

const refusal = (text: string, options: LabelledCsvOptions = {}): string => {
  try {
    parse(text, options)
  } catch (error) {
    expect(error).toMatchObject({ name: 'WeftgradError', code: 'format' })
    return error instanceof Error ? error.message : ''
  }
  return expect.fail('was not refused')
}

describe('parseLabelledCsv', () => {
  it('reads rows with any line endings, quotes, spaces and final newline', () => {
    const expected = { labels: Uint8Array.of(9, 0), images: Uint8Array.of(0, 128, 255, 1, 2, 3), count: 2 }
    for (const text of [
      `${header(3)}\n9,0,128,255\n0,1,2,3\n`,
      `${header(3)}\n9,0,128,255\n0,1,2,3`,
      `${header(3)}\r\n9,0,128,255\r\n0,1,2,3\r\n`,
      `"label","pixel1","pixel2","pixel3"\n9,0,128,255\n0,1,2,3\n\n\r\n`,
      `\ufeff${header(3)}\n"9","0", 128,255.0\n0,001,2.,3\n`,
    ]) {
      expect(parse(text)).toMatchObject(expected)
    }
  })

  it('round-trips any values', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(9), fc.uint8Array({ minLength: 3, maxLength: 3 })), { minLength: 1 }),
        (rows) => {
          const read = parse([header(3), ...rows.map(([label, pixels]) => `${label},${pixels.join(',')}`)].join('\n'))
          expect(Array.from(read.labels)).toEqual(rows.map(([label]) => label))
          expect(Array.from(read.images)).toEqual(rows.flatMap(([, pixels]) => [...pixels]))
        },
      ),
      { seed: 1 },
    )
  })

  it('lists the first problems with their lines, and counts the rest', () => {
    const rows = [
      '1,2,3',
      '1,,2,3',
      '1,2,x,3',
      '10,1,2,3',
      '1,256,2,3',
      '1,2,3,4,5',
      '1,-1,2,3',
      '1,2,3,4',
      '1,1.5,2,3',
    ]
    const message = refusal(`${header(3)}\n${rows.join('\n')}\n`)
    expect(message).toContain('line 2: 3 columns instead of 4')
    expect(message).toContain('line 3: pixel1 is missing')
    expect(message).toContain("line 4: pixel2 is 'x', which is not a number")
    expect(message).toContain('line 5: the label is 10, outside 0 to 9')
    expect(message).toContain('line 6: pixel1 is 256, outside 0 to 255')
    expect(message).toContain('and 3 more')
    expect(refusal(`${header(3)}\n1,-1,2,3`)).toContain("pixel1 is '-1', which is negative")
    expect(refusal(`${header(3)}\n1,1.5,2,3`)).toContain('not a plain integer')
    expect(refusal(`${header(3)}\n1,1e99,2,3`)).toContain('not a plain integer')
    expect(refusal(`${header(3)}\n99999999999999999999999,1,2,3`)).toContain('outside 0 to 9')
    expect(refusal(`${header(3)}\n1,2,3,4\n\n1,2,3,4`)).toContain('line 3: the line is empty')
    expect(refusal(`${header(3)}\r1,2,3,4`)).toContain('line 1')
  })

  it('leaves out rows with missing cells if asked to, and only those', () => {
    const text = `${header(3)}\n1,2,3,4\n,2,3,4\n2,NaN,3,4\n3,4,5,\n4,5,6,7`
    expect(refusal(text)).toContain(
      'line 3: the label is missing; line 4: pixel1 is missing; line 5: pixel3 is missing',
    )
    expect(parse(text, { missing: 'drop' })).toEqual({
      labels: Uint8Array.of(1, 4),
      images: Uint8Array.of(2, 3, 4, 5, 6, 7),
      count: 2,
      droppedLines: [3, 4, 5],
    })
    expect(refusal(`${text}\n4,5,6,777`, { missing: 'drop' })).toContain('line 7')
    expect(refusal(`${header(3)}\n,,,`, { missing: 'drop' })).toContain('every line after it was dropped')
  })

  it('checks the header', () => {
    expect(refusal('')).toContain('is missing')
    expect(refusal('1,2,3,4\n1,2,3,4')).toContain("column 1 is '1' and not 'label'")
    expect(refusal('label,pixel1,pixel3,pixel2\n1,2,3,4')).toContain("column 3 is 'pixel3'")
    expect(refusal('label,pixel1,pixel2\n1,2,3')).toContain('3 columns instead of 4')
    expect(refusal('label,pixel1,pixel2,pixel3,pixel4\n')).toContain('5 columns')
    expect(refusal(header(3))).toContain('no line follows')
    expect(refusal('x'.repeat(100_000))).toContain('too long')
  })

  it('does not turn a file without line breaks into a string', () => {
    const bytes = new Uint8Array(20_000_000).fill(0x31)
    bytes.set(new TextEncoder().encode(`${header(3)}\n`))
    expect(() => parseLabelledCsv(bytes, { pixels: 3 })).toThrow('too many for 4 cells')
  })

  it('skips a million blank lines', () => {
    expect(parse(`${header(3)}\n1,2,3,4${'\n'.repeat(1_000_000)}`).count).toBe(1)
    expect(refusal(`${header(3)}${'\n'.repeat(1_000_000)}1,2,3,4`)).toContain('line 2: the line is empty')
  })

  it('turns arbitrary text into rows or a format error', () => {
    const cell = fc.oneof(
      fc.nat(300).map(String),
      fc.string({ maxLength: 4 }),
      fc.constantFrom('', ',', '"', '\n', '\r\n'),
    )
    fc.assert(
      fc.property(fc.array(cell, { maxLength: 40 }), fc.boolean(), (cells, drop) => {
        try {
          const read = parse(`${header(3)}\n${cells.join(',')}`, { missing: drop ? 'drop' : 'refuse' })
          expect(read.images).toHaveLength(3 * read.count)
        } catch (error) {
          expect(error).toMatchObject({ name: 'WeftgradError', code: 'format' })
        }
      }),
      { seed: 3, numRuns: 2000 },
    )
  })

  it('reads 20,000 images (26 MB) at 10 MB per second or faster', () => {
    const line = new TextEncoder().encode(`7,${Array.from({ length: 784 }, (_, i) => (i * 7) % 256).join(',')}\n`)
    const head = new TextEncoder().encode(`${header(784)}\n`)
    const bytes = new Uint8Array(head.length + 20_000 * line.length)
    bytes.set(head)
    for (let i = 0; i < 20_000; i++) bytes.set(line, head.length + i * line.length)
    const start = performance.now()
    const read = parseLabelledCsv(bytes)
    expect(performance.now() - start).toBeLessThan((bytes.length / 10e6) * 1000)
    expect(read.count).toBe(20_000)
    expect(read.images[784 * 19_999 + 5]).toBe(35)
  })

  it('refuses invalid options', () => {
    expect(() => parse('', { pixels: 0 })).toThrow(WeftgradError)
    expect(() => parse('', { classes: 257 })).toThrow(WeftgradError)
  })
})
