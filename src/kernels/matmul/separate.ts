/**
 * A product with a mask or with column sums in several kernels, those that the graph would run without fusion. Such a
 * product cannot split its sums over k, and stores masked tiles; which is faster depends on the GPU, so tuning measures
 * both.
 */

import type { ElementwiseKey } from '../elementwise/elementwise.ts'
import { elementwise } from '../elementwise/elementwise.ts'
import { greater, where } from '../elementwise/steps.ts'
import type { KernelPlan, Operand, Target, Variant } from '../kernel.ts'
import { input, output, placed, planKernel, scratch, surelyBoundBytes } from '../kernel.ts'
import { reduce } from '../reduce/reduce.ts'
import { triesSeparateKernels } from '../schedule/occupancy.ts'
import type { MatmulKey } from './key.ts'
import { matmulSupports } from './key.ts'

/** The product where the mask is positive, else 0. */
function maskKey(count: number): ElementwiseKey {
  const tensor = { shape: [count], dtype: 'f32' } as const
  return {
    ...{ shape: [count], inputs: [tensor, tensor], output: 'f32' },
    steps: [
      { kind: 'input', index: 0 },
      { kind: 'input', index: 1 },
      { kind: 'constant', value: 0 },
      { kind: 'greater', rule: greater, args: [1, 2] },
      { kind: 'where', rule: where, args: [3, 0, 2] },
    ],
  }
}

/** @param planProduct plans the product without mask and sums. */
export function separateKernels(
  planProduct: (key: MatmulKey, target: Target) => KernelPlan,
): Variant<MatmulKey, 'separate'> {
  return {
    name: 'separate',
    supports: /* @__PURE__ */ matmulSupports(
      {
        ...{ transposeA: true, transposeB: true, mask: true, columnSums: true },
        ...{ batchedA: false, batchedB: false, bias: false, activation: false, halfB: false },
      },
      ({ batch, m, n, mask, columnSums }, target) =>
        triesSeparateKernels(target) && (mask === true || columnSums === true) && 4 * batch * m * n <= surelyBoundBytes,
    ),
    plan({ mask, columnSums, ...key }, target) {
      const { batch, m, n, k } = key
      const count = batch * m * n
      const product = planProduct(key, target)
      // The product's own scratch memory comes first, so that a program can take over its last sum.
      const scratchBytes = [...product.scratchBytes]
      const whole = mask === true ? scratch(scratchBytes.push(4 * count) - 1) : output(0)
      const dispatches = placed(product, { input: [input(0), input(1)], output: [whole] }, 0)
      const put = (plan: KernelPlan, from: readonly Operand[], to: Operand): void => {
        dispatches.push(...placed(plan, { input: from, output: [to] }, scratchBytes.length))
        scratchBytes.push(...plan.scratchBytes)
      }
      if (mask === true) put(planKernel(elementwise, maskKey(count), target), [whole, input(2)], output(0))
      if (columnSums === true)
        put(planKernel(reduce, { operation: 'sum', shape: [k, n], axes: [0] }, target), [input(1)], output(1))
      return { variant: 'separate', flops: product.flops, dispatches, scratchBytes }
    },
  }
}
