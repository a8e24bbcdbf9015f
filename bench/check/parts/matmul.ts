/** Products of square matrices, as every report of a GPU has them. */

import type { MatmulKey } from '../../../src/kernels/matmul/matmul.ts'
import { matmul } from '../../../src/operators/index.ts'
import { matmulAt } from '../../reference.ts'
import type { Part } from '../part.ts'
import type { OperatorRow, TimedOperator } from '../timed-operator.ts'
import { operatorTable, timeOperators } from '../timed-operator.ts'

const sizes = [512, 1024, 2048, 4096]

export interface MatmulFigures {
  readonly products: readonly OperatorRow[]
}

export const matmulPart: Part<MatmulFigures> = {
  name: 'matmul',
  title: 'Matrix products',
  seconds: 30,
  async run(work) {
    const products: OperatorRow[] = []
    await timeOperators(work, sizes.map(product), (row) => {
      products.push(row)
      work.report({ products: [...products] })
    })
  },
  page({ products }, pytorch) {
    return operatorTable(products, pytorch?.matmul)
  },
}

function product(size: number): TimedOperator {
  const key: MatmulKey = {
    ...{ batch: 1, m: size, n: size, k: size, bias: false, activation: 'linear' },
    ...{ batchedA: false, batchedB: false, transposeA: false, transposeB: false },
  }
  return {
    name: String(size),
    flops: 2 * size ** 3,
    shapes: [
      [size, size],
      [size, size],
    ],
    terms: size,
    trace: matmul,
    define: (a, b) => matmulAt(key, a, b),
  }
}
