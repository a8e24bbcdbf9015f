/** Small ONNX files, as text: one input `x`, one output `y`. */
import { encodeOnnx } from '../../src/format/onnx/messages.ts'

/** A node in the form of its message. */
export interface SmallNode {
  readonly opType: string
  readonly domain?: string
  readonly input: string[]
  readonly output: string[]
  readonly attribute?: { readonly name: string; readonly type: number; readonly i?: bigint }[]
}

export interface SmallGraph {
  readonly nodes: readonly SmallNode[]
  /** The extents of `x`; a text is an open one. */
  readonly input: readonly (number | string)[]
  /** Tensors of one axis. */
  readonly tensors?: Readonly<Record<string, readonly number[]>>
  readonly integers?: Readonly<Record<string, readonly number[]>>
  /** Names of further inputs. */
  readonly more?: readonly string[]
}

export function onnxBytes({
  nodes,
  input,
  tensors = {},
  integers = {},
  more = [],
}: SmallGraph): Uint8Array<ArrayBuffer> {
  const port = (name: string, extents: readonly (number | string)[]) => {
    const dim = extents.map((extent) =>
      typeof extent === 'number'
        ? { value: { case: 'dimValue' as const, value: BigInt(extent) } }
        : { value: { case: 'dimParam' as const, value: extent } },
    )
    return { name, type: { value: { case: 'tensorType' as const, value: { elemType: 1, shape: { dim } } } } }
  }
  return encodeOnnx({
    ...{ irVersion: 8n, producerName: 'test', opsetImport: [{ domain: '', version: 17n }] },
    graph: {
      name: 'small',
      node: nodes.map((node) => ({ ...node })),
      input: [port('x', input), ...more.map((name) => port(name, [1]))],
      output: [port('y', [])],
      initializer: [
        ...Object.entries(tensors).map(([name, values]) => ({
          name,
          dims: [BigInt(values.length)],
          dataType: 1,
          floatData: [...values],
        })),
        ...Object.entries(integers).map(([name, values]) => ({
          name,
          dims: [BigInt(values.length)],
          dataType: 7,
          int64Data: values.map(BigInt),
        })),
      ],
    },
  })
}
