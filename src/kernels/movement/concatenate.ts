/**
 * Joins tensors along an axis. Every input is a matrix whose rows are copied into the rows of the output. Elements are
 * copied as 32-bit words, both f32 and u32. Variants: `plain`, and `vec4` if all rows are whole vec4.
 */

import { WeftgradError } from '../../errors.ts'
import { at, checkShape } from '../extents.ts'
import type { Dispatch, Family, KernelPlan, Shape, Target, UniformValue, Variant } from '../kernel.ts'
import { dispatch, elementCount, input, output, reads, writes } from '../kernel.ts'
import { gridFor } from '../schedule/grid-stride.ts'

export interface ConcatenateKey {
  /** Shapes, equal except along `axis`. */
  readonly shapes: readonly Shape[]
  readonly axis: number
}

/** The most inputs of one dispatch: with the output they stay within WebGPU's default of eight storage buffers. */
const inputsPerDispatch = 6

/** Every input as rows that go into the rows of the output. */
function concatenatedRows({ shapes, axis }: ConcatenateKey): {
  readonly rows: number
  readonly widths: readonly number[]
} {
  const [first] = shapes
  const fits =
    first !== undefined &&
    axis >= 0 &&
    axis < first.length &&
    Number.isInteger(axis) &&
    shapes.every((shape) => shape.length === first.length && shape.every((n, i) => i === axis || n === first[i]))
  if (!fits) {
    const listed = shapes.map((shape) => `[${shape.join(', ')}]`).join(', ')
    throw new WeftgradError('shape', `concatenate: ${listed || 'no tensors'} do not differ along axis ${axis} only.`, {
      shapes,
      axis,
    })
  }
  for (const shape of shapes) checkShape('concatenate', shape)
  return {
    rows: elementCount(first.slice(0, axis)),
    widths: shapes.map((shape) => elementCount(shape.slice(axis))),
  }
}

function planConcatenate(key: ConcatenateKey, vectors: boolean, target: Target): KernelPlan {
  const { rows, widths } = concatenatedRows(key)
  const variant = vectors ? 'vec4' : 'plain'
  const items = widths.map((width) => width / (vectors ? 4 : 1))
  const width = items.reduce((sum, own) => sum + own, 0)
  const dispatches: Dispatch[] = []
  let begin = 0
  for (let from = 0; from < items.length; from += inputsPerDispatch) {
    const own = items.slice(from, from + inputsPerDispatch)
    dispatches.push(concatenateSome({ rows, width, begin, from, own, variant }, target))
    begin += own.reduce((sum, n) => sum + n, 0)
  }
  return { variant, dispatches, scratchBytes: [], flops: 0 }
}

interface SomeRows {
  readonly rows: number
  /** Width of an output row, in items of one or four elements, like all numbers here. */
  readonly width: number
  /** Position of the first of these inputs in an output row. */
  readonly begin: number
  /** Index of the first input, and the widths of this one and those that follow. */
  readonly from: number
  readonly own: readonly number[]
  readonly variant: 'plain' | 'vec4'
}

/** Divides the workgroups among the inputs; each walks over the rows of its own input. */
function concatenateSome({ rows, width, begin, from, own, variant }: SomeRows, target: Target): Dispatch {
  const element = variant === 'vec4' ? 'vec4u' : 'u32'
  const grids = own.map((n) => gridFor(rows * n, target))
  const workgroupSize = at(grids, 0).workgroupSize
  const uniforms: Record<string, UniformValue> = { rows, width }
  let firstGroup = 0
  let column = begin
  const branches = own.map((n, i) => {
    const grid = at(grids, i)
    uniforms[`firstGroup${i}`] = firstGroup
    uniforms[`itemsPerLane${i}`] = grid.itemsPerLane
    uniforms[`width${i}`] = n
    uniforms[`column${i}`] = column
    // Rows and columns by which a step of the whole workgroup advances.
    uniforms[`stepRows${i}`] = Math.floor(workgroupSize / n)
    uniforms[`stepColumns${i}`] = workgroupSize % n
    firstGroup += grid.workgroups
    column += n
    uniforms[`endGroup${i}`] = firstGroup
    return `if (group < u.endGroup${i}) {
    let start = (group - u.firstGroup${i}) * u.itemsPerLane${i} * ${workgroupSize}u + lane;
    var row = start / u.width${i};
    var column = start - row * u.width${i};
    for (var iteration = 0u; iteration < u.itemsPerLane${i}; iteration++) {
      if (row < u.rows) {
        result[row * u.width + u.column${i} + column] = x${i}[row * u.width${i} + column];
      }
      column += u.stepColumns${i};
      let carry = select(0u, 1u, column >= u.width${i});
      column -= carry * u.width${i};
      row += u.stepRows${i} + carry;
    }
  }`
  })
  return dispatch({
    label: `concatenate/${variant}`,
    bindings: [...own.map((_, i) => reads(`x${i}`, input(from + i), element)), writes('result', output(0), element)],
    uniforms,
    workgroupSize,
    workgroups: firstGroup,
    body: `  ${branches.join(' else ')}`,
  })
}

const isWholeVectors = (key: ConcatenateKey): boolean => concatenatedRows(key).widths.every((width) => width % 4 === 0)

const concatenateVariants: readonly Variant<ConcatenateKey, 'plain' | 'vec4'>[] = [
  { name: 'plain', supports: () => true, plan: (key, target) => planConcatenate(key, false, target) },
  {
    name: 'vec4',
    supports: isWholeVectors,
    plan: (key, target) => planConcatenate(key, true, target),
  },
]

/** Concatenation of any number of inputs, six per dispatch. Throws 'shape' if the shapes differ along other axes. */
export const concatenate: Family<ConcatenateKey, 'plain' | 'vec4'> = {
  name: 'concatenate',
  variants: concatenateVariants,
  prefer: (key) => (isWholeVectors(key) ? 'vec4' : 'plain'),
}
