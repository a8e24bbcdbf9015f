/** Times products of square matrices, the usual measure of a GPU. */

import { matmul } from '../../../src/operators/index.ts'
import * as reference from '../../../test/reference/matmul.ts'
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
  return {
    name: String(size),
    flops: 2 * size ** 3,
    shapes: [
      [size, size],
      [size, size],
    ],
    terms: size,
    trace: matmul,
    reference: reference.matmul,
  }
}
