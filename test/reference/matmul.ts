/** Matrix products: [..., m, k] x [..., k, n], and the dense layer. */
import type { Array64 } from './array64.ts'
import { array64, define, elementOf } from './array64.ts'
import type { Activation } from './elementwise.ts'
import { activations, broadcastShape, broadcastTo } from './elementwise.ts'

export interface MatmulOptions {
  readonly transposeA?: boolean
  readonly transposeB?: boolean
}

/** Batch extents broadcast as in numpy. */
export function matmul(a: Array64, b: Array64, options: MatmulOptions = {}): Array64 {
  const { transposeA = false, transposeB = false } = options
  const [rowsA = 0, columnsA = 0] = a.shape.slice(-2)
  const [rowsB = 0, columnsB = 0] = b.shape.slice(-2)
  const m = transposeA ? columnsA : rowsA
  const k = transposeA ? rowsA : columnsA
  const n = transposeB ? rowsB : columnsB
  const batchShape = broadcastShape(a.shape.slice(0, -2), b.shape.slice(0, -2))
  const left = broadcastTo(a, [...batchShape, rowsA, columnsA]).data
  const right = broadcastTo(b, [...batchShape, rowsB, columnsB]).data
  return define([...batchShape, m, n], (offset) => {
    const column = offset % n
    const row = Math.floor(offset / n) % m
    const batch = Math.floor(offset / (m * n))
    let sum = 0
    for (let i = 0; i < k; i++) {
      const x = left[batch * m * k + (transposeA ? i * m + row : row * k + i)] ?? Number.NaN
      const y = right[batch * k * n + (transposeB ? column * k + i : i * n + column)] ?? Number.NaN
      sum += x * y
    }
    return sum
  })
}

/** x [..., in], kernel [in, out], bias [out]. */
export function dense(x: Array64, kernel: Array64, bias?: Array64, activation: Activation = 'linear'): Array64 {
  const [features = 0, units = 0] = kernel.shape
  const product = matmul(array64([x.data.length / features, features], x.data), kernel)
  const offsets = bias?.data
  return define([...x.shape.slice(0, -1), units], (offset) =>
    activations[activation](elementOf(product, offset) + (offsets?.[offset % units] ?? 0)),
  )
}
