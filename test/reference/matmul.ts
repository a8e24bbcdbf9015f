/** Matrix products: [..., m, k] x [..., k, n], and the dense layer. */
import type { Array64 } from './array64.ts'
import { array64, countOf } from './array64.ts'
import type { Activation } from './elementwise.ts'
import { activate, add, broadcastShape, broadcastTo } from './elementwise.ts'

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
  const wideA = broadcastTo(a, [...batchShape, rowsA, columnsA])
  const wideB = broadcastTo(b, [...batchShape, rowsB, columnsB])
  const batches = countOf(batchShape)
  const data = new Float64Array(batches * m * n)
  for (let batch = 0; batch < batches; batch++) {
    const startA = batch * m * k
    const startB = batch * k * n
    for (let row = 0; row < m; row++) {
      for (let column = 0; column < n; column++) {
        let sum = 0
        for (let i = 0; i < k; i++) {
          const left = wideA.data[startA + (transposeA ? i * m + row : row * k + i)] ?? Number.NaN
          const right = wideB.data[startB + (transposeB ? column * k + i : i * n + column)] ?? Number.NaN
          sum += left * right
        }
        data[(batch * m + row) * n + column] = sum
      }
    }
  }
  return { shape: [...batchShape, m, n], data }
}

/** x [..., in], kernel [in, out], bias [out]. */
export function dense(x: Array64, kernel: Array64, bias?: Array64, activation: Activation = 'linear'): Array64 {
  const features = x.shape.at(-1) ?? 0
  const rows = array64([x.data.length / features, features], x.data)
  const product = matmul(rows, kernel)
  const shaped = array64([...x.shape.slice(0, -1), kernel.shape[1] ?? 0], product.data)
  return activate(bias === undefined ? shaped : add(shaped, bias), activation)
}
