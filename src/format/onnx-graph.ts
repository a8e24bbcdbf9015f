/**
 * What an ONNX file says, as the reader returns it: nodes in the file's order, each with the names of what it takes and gives,
 * and tensors by name.
 */

/** A tensor of the file. */
export interface OnnxTensor {
  readonly name: string
  /** `float32`, `int64`, `bool` ...; ONNX's number of the type for those that hold no plain numbers. */
  readonly dtype: string
  readonly shape: readonly number[]
  /**
   * Its numbers, row-major: floats as float32; integers and truth values as doubles, 64-bit ones rounded to the nearest.
   * @throws WeftgradError 'format' for a type that holds no plain numbers.
   */
  read(): Float32Array | Float64Array
}

/** An attribute of a node. A graph within a node is not read: it is `'(graph)'`. */
export type OnnxAttribute = number | string | readonly number[] | readonly string[] | OnnxTensor

export interface OnnxNode {
  /** Its name; empty if it has none. */
  readonly name: string
  /** `Conv`, or with the domain if that is not ONNX's own: `com.microsoft.Gelu`. */
  readonly operator: string
  /** Names of its inputs; '' for one that is left out. */
  readonly inputs: readonly string[]
  readonly outputs: readonly string[]
  readonly attributes: ReadonlyMap<string, OnnxAttribute>
}

/** An input or output of the graph. Its extents are numbers, names of extents, or unknown. */
export interface OnnxPort {
  readonly name: string
  readonly shape?: readonly (number | string | undefined)[]
}

export interface OnnxGraph {
  readonly name: string
  /** The version of ONNX's own set of operators; undefined if the file has none. */
  readonly opset: number | undefined
  readonly nodes: readonly OnnxNode[]
  readonly tensors: ReadonlyMap<string, OnnxTensor>
  /** Without those that tensors of the file fill. */
  readonly inputs: readonly OnnxPort[]
  readonly outputs: readonly OnnxPort[]
}
