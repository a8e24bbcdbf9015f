/**
 * Elementwise kernels: any chain of unary, binary and ternary steps over inputs that broadcast to one shape, in a
 * single kernel. A single operator is a chain of one step. Variants: `plain` takes any shapes; `vec4` takes four
 * neighbours at a time if the last merged axis allows it.
 *
 * Promises beyond those of kernel.ts: NaN passes through everything but comparisons (which are 0), `where` (which takes
 * exactly the chosen side, and counts NaN as true), `toU32` (0), and `pow` with exponent 0 or base 1 (1). Results are
 * infinite where the limit is. Elements that a `vec4` output holds beyond its end are written as zeros.
 */

import { WeftgradError } from '../../errors.ts'
import { at, checkShape } from '../extents.ts'
import type { DType, Family, KernelPlan, Shape, Target, UniformValue, Variant } from '../kernel.ts'
import { dispatch, elementCount, input, output, reads, stridesOf, writes } from '../kernel.ts'
import type { IterationSpace } from '../schedule/grid-stride.ts'
import { gridFor, gridStrideLoop, inVectors, laneCoordinates, mergeAxes, offsetText } from '../schedule/grid-stride.ts'
import type { Width } from '../wgsl/functions.ts'
import { declareFunctions, scalar, vector } from '../wgsl/functions.ts'
import type { ElementwiseStep } from './steps.ts'
import { emitChain, valueType } from './steps.ts'

export type {
  ElementwiseStep,
  OperatorStep,
} from './steps.ts'

export interface ElementwiseKey {
  /** The output's shape. */
  readonly shape: Shape
  /** Inputs, at most seven; each broadcasts to `shape` by numpy's rules. */
  readonly inputs: readonly { readonly shape: Shape; readonly dtype: DType }[]
  /** The steps; the last one gives the result. */
  readonly steps: readonly ElementwiseStep[]
  readonly output: DType
}

/** The most inputs: WebGPU's default of eight storage buffers per stage, minus the output. */
const maxInputs = 7

/**
 * An input's strides over the axes of the output; 0 along a broadcast axis. Throws 'shape' if it does not broadcast.
 */
export function broadcastStrides(from: Shape, to: Shape): number[] {
  const missing = to.length - from.length
  const own = stridesOf(from)
  const fits = missing >= 0 && from.every((extent, axis) => extent === 1 || extent === to[axis + missing])
  if (!fits) {
    throw new WeftgradError(
      'shape',
      `A tensor of shape [${from.join(', ')}] does not broadcast to [${to.join(', ')}].`,
      {
        from,
        to,
      },
    )
  }
  return to.map((_, axis) => (axis < missing || from[axis - missing] === 1 ? 0 : at(own, axis - missing)))
}

function iterationSpaceOf(key: ElementwiseKey): IterationSpace {
  for (const shape of [key.shape, ...key.inputs.map((source) => source.shape)]) checkShape('elementwise', shape)
  if (key.inputs.length > maxInputs) {
    throw new WeftgradError(
      'limit',
      `elementwise: a kernel reads at most ${maxInputs} inputs, not ${key.inputs.length}.`,
      { key },
    )
  }
  return mergeAxes(
    key.shape,
    key.inputs.map((source) => broadcastStrides(source.shape, key.shape)),
  )
}

function plan(key: ElementwiseKey, target: Target, width: Width): KernelPlan {
  const elements = iterationSpaceOf(key)
  const chain = emitChain(
    key.steps,
    key.inputs.map((source) => source.dtype),
    width,
  )
  if (chain.type !== key.output) {
    throw new WeftgradError('shape', `elementwise: the steps give ${chain.type}, but the output is ${key.output}.`, {
      key,
    })
  }
  const count = elementCount(key.shape)
  const tail = count % width.lanes !== 0 // a single merged axis: see `vec4.supports`
  const last = elements.extents.length - 1
  const space =
    width.lanes === 1
      ? elements
      : inVectors(tail ? { extents: [Math.ceil(count / 4) * 4], strides: elements.strides } : elements)
  const grid = gridFor(elementCount(space.extents), target)
  const coordinates = laneCoordinates(space.extents, grid)
  const uniforms: Record<string, UniformValue> = { ...coordinates.uniforms, ...chain.uniforms }

  const before = [...chain.constants] // scalars that never change are loaded once
  const loads: string[] = []
  const bindings = key.inputs.map(({ dtype }, i) => {
    const strides = at(space.strides, i)
    const type = valueType(dtype)
    const wide = type === 'f32' ? width.f : width.u
    const whole = at(at(elements.strides, i), last) === 1
    const offset = offsetText(`stride${i}_`, strides)
    Object.assign(uniforms, offset.uniforms)
    const value = whole ? `input${i}[${offset.text}]` : `${wide}(input${i}[${offset.text}])`
    ;(strides.every((stride) => stride === 0) ? before : loads).push(`let x${i} = ${value};`)
    return reads(`input${i}`, input(i), whole ? wide : type)
  })
  const wide = chain.type === 'f32' ? width.f : width.u
  const mask = 'item * 4u + vec4u(0u, 1u, 2u, 3u) < vec4u(u.count)'
  if (tail) uniforms.count = count
  const store = tail ? `select(${wide}(0), ${chain.result}, ${mask})` : chain.result
  const statements = [...loads, ...chain.statements, `result[item] = ${store};`]
  return {
    variant: width.lanes === 1 ? 'plain' : 'vec4',
    dispatches: [
      dispatch({
        label: `elementwise.${chainLabel(key)}/${width.lanes === 1 ? 'plain' : 'vec4'}`,
        bindings: [...bindings, writes('result', output(0), wide)],
        uniforms,
        workgroupSize: grid.workgroupSize,
        workgroups: grid.workgroups,
        declarations: declareFunctions(chain.needs, width),
        body: [
          ...before.map((line) => `  ${line}`),
          gridStrideLoop(coordinates, statements.map((line) => `      ${line}`).join('\n')),
        ].join('\n'),
      }),
    ],
    scratchBytes: [],
    flops: 0,
  }
}

function chainLabel(key: ElementwiseKey): string {
  const kinds = key.steps.map((step) => step.kind).filter((kind) => kind !== 'input' && kind !== 'constant')
  return kinds.length === 0 ? 'copy' : kinds.join('+')
}

const plainVariant: Variant<ElementwiseKey, 'plain'> = {
  name: 'plain',
  supports: () => true,
  plan: (key, target) => plan(key, target, scalar),
}

const vec4Variant: Variant<ElementwiseKey, 'vec4'> = {
  name: 'vec4',
  // A single contiguous run may have any length (its tail is masked); rows must be whole vectors, so that each starts
  // at one.
  supports: (key) => {
    const { extents } = iterationSpaceOf(key)
    return extents.length === 1 || at(extents, extents.length - 1) % 4 === 0
  },
  plan: (key, target) => plan(key, target, vector),
}

/** Elementwise chains. Throws 'shape' or 'argument' for invalid keys, 'limit' for more than seven inputs. */
export const elementwise: Family<ElementwiseKey, 'plain' | 'vec4'> = {
  name: 'elementwise',
  variants: [plainVariant, vec4Variant],
  prefer: (key, target) => (vec4Variant.supports(key, target) ? 'vec4' : 'plain'),
}
