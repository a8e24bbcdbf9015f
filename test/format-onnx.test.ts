/** ONNX files, damaged and hostile ones: nothing but typed errors, in bounded time and memory. */
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { memorySource } from '../src/format/byte-source.ts'
import { encodeOnnx } from '../src/format/onnx/messages.ts'
import { openOnnx } from '../src/format/onnx.ts'
import { openWeights } from '../src/format/open-weights.ts'
import { WeftgradError } from '../src/index.ts'
import { onnxModel } from '../src/weights/onnx/onnx-model.ts'
import { failure } from './support/failure.ts'

const folder = fileURLToPath(new URL('fixtures/onnx/', import.meta.url))
const files = readdirSync(folder).flatMap((name) =>
  name.endsWith('.onnx') ? [new Uint8Array(readFileSync(`${folder}${name}`))] : [],
)

const opened = (bytes: Uint8Array) => openOnnx(memorySource(bytes, 'model.onnx'))

/** Opens a file, reads all its tensors, and builds its model. Returns nothing, or throws. */
async function through(bytes: Uint8Array): Promise<void> {
  const file = await opened(bytes)
  for (const { weights } of file.groups) for (const entry of weights) await file.read(entry)
  if (file.onnx !== undefined) onnxModel(file.onnx, file.source).model.dispose()
}

async function onlyTyped(bytes: Uint8Array): Promise<void> {
  try {
    await through(bytes)
  } catch (error) {
    if (!(error instanceof WeftgradError)) throw error
  }
}

const aFile = fc.constantFrom(...files)

type Tensors = NonNullable<NonNullable<Parameters<typeof encodeOnnx>[0]['graph']>['initializer']>
const withTensor = (tensor: Tensors[number]): Uint8Array =>
  encodeOnnx({ irVersion: 8n, producerName: 'a', graph: { initializer: [tensor] } })

/** Graphs within each other: a graph's node's attribute is a graph. */
function nestedGraphs(depth: number): Uint8Array {
  const [graph, node, attribute] = [0x32, 0x0a, 0x2a]
  let bytes: number[] = []
  for (let i = 0; i < depth; i++)
    for (const tag of [graph, attribute, node]) bytes = [tag, ...lengthOf(bytes.length), ...bytes]
  return Uint8Array.from([0x3a, ...lengthOf(bytes.length), ...bytes])
}

describe('a damaged ONNX file', () => {
  it('that is cut off fails with a typed error', async () => {
    await fc.assert(
      fc.asyncProperty(aFile, fc.double({ min: 0, max: 1, noNaN: true }), (bytes, share) =>
        onlyTyped(bytes.slice(0, bytes.length * share)),
      ),
      { numRuns: 150 },
    )
  })

  it('with changed bytes fails with a typed error, or is another model', async () => {
    const changes = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 12 })
    await fc.assert(
      fc.asyncProperty(aFile, changes, async (bytes, list) => {
        const changed = bytes.slice()
        for (const [at, value] of list) changed[at % bytes.length] = value
        await onlyTyped(changed)
      }),
      { numRuns: 400 },
    )
  }, 120_000)

  it.each([
    ['raw bytes of another length', { name: 'w', dataType: 1, dims: [3n], rawData: new Uint8Array(11) }],
    ['fewer numbers than the shape', { name: 'w', dataType: 1, dims: [3n], floatData: [1, 2] }],
    ['a shape that is huge', { name: 'w', dataType: 1, dims: [2n ** 40n, 2n ** 40n], rawData: new Uint8Array(8) }],
    ['a negative extent', { name: 'w', dataType: 1, dims: [-1n], rawData: new Uint8Array(8) }],
  ])('%s', async (_, tensor) => {
    expect(await failure(opened(withTensor(tensor)))).toMatchObject({
      code: 'format',
      message: expect.stringContaining("'w'"),
    })
  })

  it('of messages nested without end is refused', async () => {
    expect(await failure(opened(nestedGraphs(300)))).toMatchObject({
      code: 'format',
      message: expect.stringContaining('nested'),
    })
  })

  it('of many small parts is refused before it fills the memory', async () => {
    // Empty nodes: two bytes each.
    const nodes = new Uint8Array(10_000_000).map((_, i) => (i % 2 === 0 ? 0x0a : 0))
    const bytes = Uint8Array.from([0x3a, ...lengthOf(nodes.length)])
    const whole = new Uint8Array(bytes.length + nodes.length)
    whole.set(bytes)
    whole.set(nodes, bytes.length)
    expect(await failure(opened(whole))).toMatchObject({
      code: 'format',
      message: expect.stringContaining('more than'),
    })
  })
})

function lengthOf(count: number): number[] {
  const bytes: number[] = []
  for (let rest = count; ; rest >>>= 7) {
    if (rest <= 127) return [...bytes, rest]
    bytes.push((rest & 127) | 128)
  }
}

describe('tensors beside an ONNX file', () => {
  const outside = (location: string, more: Readonly<Record<string, string>> = {}): Uint8Array =>
    withTensor({
      ...{ name: 'w', dataType: 1, dims: [2n], dataLocation: 1 },
      externalData: Object.entries({ location, ...more }).map(([key, value]) => ({ key, value })),
    })
  const beside = new Uint8Array(new Float32Array([9, 1, 2, 9]).buffer)
  const openShard = async (path: string) => memorySource(beside, path)

  it('are read', async () => {
    const file = await openWeights(memorySource(outside('weights.bin', { offset: '4', length: '8' }), 'a'), {
      openShard,
    })
    const entry = file.groups[0]?.weights[0]
    expect(entry && [...(await file.read(entry))]).toEqual([1, 2])
    file.close()
  })

  it.each(['../weights.bin', '/etc/passwd', 'https://example.org/w'])('are refused at %s', async (location) => {
    const found = await failure(openOnnx(memorySource(outside(location), 'a'), openShard))
    expect(found).toMatchObject({ code: 'format', message: expect.stringContaining('not beside') })
  })

  it.each([
    [{ offset: '12', length: '8' }, 'beyond'],
    [{ offset: '0', length: '4' }, '4 bytes'],
    [{ offset: '-8', length: '8' }, 'beyond'],
  ])('are refused with %j', async (more, message) => {
    const found = await failure(openOnnx(memorySource(outside('w.bin', more), 'a'), openShard))
    expect(found).toMatchObject({ code: 'format', message: expect.stringContaining(message) })
  })

  it('are refused without openShard', async () => {
    expect(await failure(opened(outside('w.bin')))).toMatchObject({ message: expect.stringContaining('openShard') })
  })
})
