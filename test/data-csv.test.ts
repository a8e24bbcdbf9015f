/** Tables as data sets: columns by name, targets of texts and of numbers, and mistakes with their lines. */
import { describe, expect, it } from 'vitest'
import type { CsvOptions } from '../src/data/csv.ts'
import { data, evaluate, tensor } from '../src/index.ts'
import { useDevice } from './support/device.ts'
import { failure } from './support/failure.ts'

const device = useDevice()
const read = (text: string, options: CsvOptions): data.ArrayDataset => data.csv(text, { device: device(), ...options })

async function numbersOf(set: data.ArrayDataset): Promise<{ readonly x: number[]; readonly y: number[] }> {
  const order = { batch: set.count, tensor: tensor(set.indices as Uint32Array<ArrayBuffer>) }
  const { x, target } = set.batch(order, tensor(Uint32Array.of(0, 0, 0, 0)))
  const [a = [], b = []] = await evaluate([x, target], { device: device() })
  return { x: Array.from(a), y: Array.from(b) }
}

const flowers = `length,width,kind,price
5.5,3,iris,1
 1e1 ,-2,"rose, red",2.5

0,0.25,aster,0
`

describe('a table', () => {
  it('becomes examples of its other columns, and a text target becomes sorted classes', async () => {
    using set = read(flowers, { target: 'kind' })
    expect(set.shape).toEqual([3])
    expect(set.classNames).toEqual(['aster', 'iris', 'rose, red'])
    expect(await numbersOf(set)).toEqual({ x: [5.5, 3, 1, 10, -2, 2.5, 0, 0.25, 0], y: [1, 2, 0] })
  })

  it('has the columns that are asked for, in their order', async () => {
    using set = read(flowers, { target: 'price', features: ['width', 'length'] })
    expect(set.classes).toBeUndefined()
    expect(await numbersOf(set)).toEqual({ x: [3, 5.5, -2, 10, 0.25, 0], y: [1, 2.5, 0] })
    using several = read(flowers, { target: ['price', 'width'], features: ['length'] })
    expect(await numbersOf(several)).toEqual({ x: [5.5, 10, 0], y: [1, 3, 2.5, -2, 0, 0.25] })
  })

  it('has class numbers if `classes` says so, and classes in the order of given names', async () => {
    const text = 'a,b\n1,0\n2,1\n'
    using numbered = read(text, { target: 'b', classes: 3 })
    expect([numbered.classes, [...numbered.labelsOf()]]).toEqual([3, [0, 1]])
    using named = read(text, { target: 'b', classNames: ['no', 'yes'] })
    expect([named.classNames, [...named.labelsOf()]]).toEqual([
      ['no', 'yes'],
      [0, 1],
    ])
    using digits = read(text, { target: 'b', classNames: ['1', '0'] })
    expect([...digits.labelsOf()]).toEqual([1, 0])
    using texts = read('a,b\n1,x\n', { target: 'b', classNames: ['w', 'x'] })
    expect([...texts.labelsOf()]).toEqual([1])
  })

  it('may have other delimiters, line ends, quotes and a byte order mark', async () => {
    using set = read('\ufeffa;"the ""b""";c\r\n1;2;3\r\n4;5;6', { target: 'the "b"' })
    expect(await numbersOf(set)).toEqual({ x: [1, 3, 4, 6], y: [2, 5] })
    using short = read('a;b\n1;2\n\n3;4\n', { target: 'b' })
    expect(await numbersOf(short)).toEqual({ x: [1, 3], y: [2, 4] })
    using piped = read('a^b\n1^2\n', { target: 'b', delimiter: '^' })
    expect(await numbersOf(piped)).toEqual({ x: [1], y: [2] })
  })

  it.each<[what: string, text: string, options: CsvOptions, code: string, message: RegExp]>([
    ['missing values', 'a,b\n1,2\n,4\nNA,1\n', { target: 'b' }, 'data', /line 3, column a.*no value; line 4, column a/],
    ['missing classes', 'a,b\n1,x\n2,\n', { target: 'b' }, 'data', /line 3, column b: it holds no value\./],
    [
      'texts as features',
      'a,b\n"1\n2",2\nred,4\n',
      { target: 'b' },
      'data',
      /line 2.*line 4, column a: it holds 'red'/,
    ],
    ['classes of no name', 'a,b\n1,x\n', { target: 'b', classNames: ['y'] }, 'data', /'x', which is none/],
    ['class numbers out of range', 'a,b\n1,5\n', { target: 'b', classes: 3 }, 'data', /label 5/],
    ['many mistakes', `a,b\n${',1\n'.repeat(9)}`, { target: 'b' }, 'data', /and 4 more/],
    ['rows of another length', 'a,b\n1,2\n1,2,3\n', { target: 'b' }, 'format', /line 3 has 3 cells.*2 columns/],
    ['open quotes', 'a,b\n1,2\n"1,2\n', { target: 'b' }, 'format', /line 3 .*[Qq]uote/],
    ['columns of one name', 'a,a\n1,2\n', { target: 'a' }, 'format', /column 2 is named 'a'/],
    ['no rows', 'a,b\n', { target: 'b' }, 'data', /no rows/],
    ['no text', '', { target: 'b' }, 'format', /empty/],
    ['unknown columns', 'price,b\n1,2\n', { target: 'prize' }, 'argument', /no column prize; did you mean price/],
    ['a feature that is the target', 'a,b\n1,2\n', { target: 'b', features: ['b'] }, 'argument', /b is a feature/],
    ['no features', 'b\n1\n', { target: 'b' }, 'argument', /at least one column/],
  ])('with %s is refused', async (_, text, options, code, message) => {
    const error = await failure(() => read(text, options))
    expect(error).toMatchObject({ code, message: expect.stringMatching(message) })
  })
})
