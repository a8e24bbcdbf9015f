/** Matrix products for GPUs: the variants of matmul.ts that use schedule/workgroup-tile.ts. */

import type { Variant } from '../kernel.ts'
import { input } from '../kernel.ts'
import { matrixOperand } from '../schedule/matrix-operand.ts'
import type { TiledBlock, TiledName, TiledProduct } from '../schedule/workgroup-tile.ts'
import { splitsItsOwnWay, suits, tiledPlan, tiledVariants } from '../schedule/workgroup-tile.ts'
import type { MatmulKey } from './key.ts'
import { matmulSupports } from './key.ts'

function tiledMatmul(block: TiledBlock): Variant<MatmulKey, TiledName> {
  return {
    name: block.name,
    supports: matmulSupports(
      {
        transposeA: true,
        transposeB: true,
        batchedA: true,
        batchedB: true,
        bias: true,
        activation: true,
        mask: true,
        columnSums: true,
        halfB: true,
      },
      ({ m, n, k, ...key }, target) =>
        suits(block, target) && splitsItsOwnWay(block, { ...key, rows: m, columns: n, terms: k }, target),
    ),
    plan(key, target) {
      const { batch, m, n, k, bias, activation, mask, columnSums } = key
      const left = matrixOperand({
        side: 'Left',
        operand: input(0),
        along: key.transposeA ? 'positions' : 'k',
        inner: key.transposeA ? m : k,
        batchStride: 'u.strideA',
      })
      const right = matrixOperand({
        side: 'Right',
        operand: input(1),
        along: key.transposeB ? 'k' : 'positions',
        inner: key.transposeB ? k : n,
        batchStride: 'u.strideB',
        half: key.halfB,
      })
      const product: TiledProduct = {
        ...{ label: 'matmul', batch, rows: m, columns: n, terms: k, left, right, bias, activation },
        ...{ mask: mask === true, columnSums: columnSums === true },
        uniforms: { strideA: key.batchedA ? m * k : 0, strideB: key.batchedB ? k * n : 0 },
      }
      return { variant: block.name, flops: 2 * batch * m * n * k, ...tiledPlan(product, block, target) }
    },
  }
}

/** One variant per block size. */
export const tiledMatmuls: readonly Variant<MatmulKey, TiledName>[] = tiledVariants.map(tiledMatmul)
