/**
 * The steps of elementwise kernels: each operator's name, the types it accepts, and its WGSL, for one value per lane or
 * four. elementwise.ts applies a chain of steps to a tensor.
 */

import { WeftgradError } from '../../errors.ts'
import { at as itemAt } from '../extents.ts'
import type { DType, UniformValue } from '../kernel.ts'
import type { WgslFunction, Width } from '../wgsl/functions.ts'
import {
  clipped,
  errorFunction,
  exceeds,
  exponential,
  larger,
  naturalLog,
  ordered,
  power,
  signOf,
  smaller,
  truncated,
} from '../wgsl/functions.ts'

/**
 * A step of an elementwise kernel: an input, a number, or an operator on earlier steps. `kind` names the operator in
 * labels and keys; `rule` writes its WGSL.
 */
export type ElementwiseStep =
  | { readonly kind: 'input'; readonly index: number }
  | { readonly kind: 'constant'; readonly value: number }
  | OperatorStep

export interface OperatorStep {
  readonly kind: string
  readonly rule: StepRule
  /** Indices of earlier steps. */
  readonly args: readonly number[]
  /** `clip` only; absent means unbounded. */
  readonly min?: number
  readonly max?: number
}

/** The type of a step's value. */
export type ValueType = 'f32' | 'u32'

interface Emission {
  readonly text: string
  readonly type: ValueType
  readonly needs?: readonly WgslFunction[]
  readonly uniforms?: Readonly<Record<string, UniformValue>>
}

interface Operands {
  readonly width: Width
  /** WGSL names of the arguments. All have the type `type`, except the condition of a `where`. */
  readonly names: readonly [string, string, string]
  readonly type: ValueType
  readonly conditionType: ValueType
  /** Whether both arguments are the same value. */
  readonly same: boolean
  /** The second argument, if it is a constant. */
  readonly constant: number | undefined
  /** A number that is unique in the kernel, for the names of uniforms. */
  readonly at: number
  readonly step: OperatorStep
}

/**
 * Writes an operator as WGSL. It is a function with properties because keys are written as text, which leaves functions
 * out.
 */
export interface StepRule {
  (operands: Operands): Emission
  readonly arity: 1 | 2 | 3
  /** The argument types that the operator accepts; the condition of a `where`, its first argument, may have any. */
  readonly types: readonly ValueType[]
}

function rule(arity: 1 | 2 | 3, types: readonly ValueType[], emit: (operands: Operands) => Emission): StepRule {
  return Object.assign((operands: Operands) => emit(operands), { arity, types })
}

const f32Only: readonly ValueType[] = ['f32']
const both: readonly ValueType[] = ['f32', 'u32']

/** An operator that is built into WGSL. */
function builtIn(text: (x: string) => string): StepRule {
  return rule(1, f32Only, ({ names: [x] }) => ({ text: text(x), type: 'f32' }))
}

/** An operator that calls one function. */
export function functionRule(one: WgslFunction): StepRule {
  return rule(1, f32Only, ({ names: [x] }) => ({ text: `${one.name}(${x})`, type: 'f32', needs: [one] }))
}

/** A comparison. `real` is the function for floats, if kernels of other families use it too. */
function comparison(sign: string, real?: WgslFunction): StepRule {
  return rule(2, both, ({ names: [a, b], type, width: { f } }) => {
    const plain = `${a} ${sign} ${b}`
    const floats = real === undefined ? `(${plain}) & ordered(${a}, ${b})` : `${real.name}(${a}, ${b})`
    return {
      text: `select(${f}(0.0), ${f}(1.0), ${type === 'u32' ? plain : floats})`,
      type: 'f32',
      needs: type === 'u32' ? [] : [real ?? ordered],
    }
  })
}

function arithmetic(sign: string): StepRule {
  return rule(2, both, ({ names: [a, b], type }) => ({ text: `${a} ${sign} ${b}`, type }))
}

function extremum(whole: string, real: WgslFunction): StepRule {
  return rule(2, both, ({ names: [a, b], type }) =>
    type === 'u32' ? { text: `${whole}(${a}, ${b})`, type } : { text: `${real.name}(${a}, ${b})`, type, needs: [real] },
  )
}

/** `x` read back from its bits, so that `x - x` and `x / x` of an infinity or NaN are not folded to 0 and 1. */
const opaque = (x: string, { f, u }: Width): string => `bitcast<${f}>(bitcast<${u}>(${x}) + ${u}(u.zero))`

const zero = { zero: 0 }

export const neg = /* @__PURE__ */ builtIn((x) => `-${x}`)
export const abs = /* @__PURE__ */ builtIn((x) => `abs(${x})`)
export const sqrt = /* @__PURE__ */ builtIn((x) => `sqrt(${x})`)
export const square = /* @__PURE__ */ builtIn((x) => `${x} * ${x}`)
export const reciprocal = /* @__PURE__ */ builtIn((x) => `1.0 / ${x}`)
export const sign = /* @__PURE__ */ functionRule(signOf)
export const exp = /* @__PURE__ */ functionRule(exponential)
export const log = /* @__PURE__ */ functionRule(naturalLog)
export const erf = /* @__PURE__ */ functionRule(errorFunction)
/** Clips to [min, max], both optional. */
export const clip = /* @__PURE__ */ rule(1, f32Only, ({ names: [x], width: { f }, at, step }) => {
  const { min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY } = step
  if (!(min <= max))
    throw new WeftgradError('argument', `elementwise: step ${at} (clip) needs min <= max, not ${min} and ${max}.`, {
      step,
    })
  return {
    text: `clipped(${x}, ${f}(u.low${at}), ${f}(u.high${at}))`,
    type: 'f32',
    needs: [clipped],
    uniforms: { [`low${at}`]: { f32: min }, [`high${at}`]: { f32: max } },
  }
})
export const toF32 = /* @__PURE__ */ rule(1, both, ({ names: [x], width }) => ({
  text: `${width.f}(${x})`,
  type: 'f32',
}))
/** Rounds towards zero, saturating. */
export const toU32 = /* @__PURE__ */ rule(1, both, ({ names: [x], type }) =>
  type === 'u32' ? { text: x, type } : { text: `truncated(${x})`, type: 'u32', needs: [truncated] },
)
export const copy = /* @__PURE__ */ rule(1, both, ({ names: [x], type }) => ({ text: x, type }))
export const add = /* @__PURE__ */ arithmetic('+')
export const sub = /* @__PURE__ */ rule(2, both, ({ names: [a, b], type, same, width }) =>
  same && type === 'f32' ? { text: `${a} - ${opaque(b, width)}`, type, uniforms: zero } : { text: `${a} - ${b}`, type },
)
export const mul = /* @__PURE__ */ arithmetic('*')
export const div = /* @__PURE__ */ rule(2, f32Only, ({ names: [a, b], type, same, width }) =>
  same ? { text: `${a} / ${opaque(b, width)}`, type, uniforms: zero } : { text: `${a} / ${b}`, type },
)
/**
 * IEEE 754's pow; a negative base needs an integral exponent. The exponents that networks use cost one or two
 * multiplications instead of a logarithm and an exponential.
 */
export const pow = /* @__PURE__ */ rule(2, f32Only, ({ names: [a, b], type, constant }) => {
  if (constant === 1) return { text: a, type }
  if (constant === 2) return { text: `${a} * ${a}`, type }
  if (constant === 3) return { text: `${a} * ${a} * ${a}`, type }
  return { text: `power(${a}, ${b})`, type, needs: [power] }
})
export const maximum = /* @__PURE__ */ extremum('max', larger)
export const minimum = /* @__PURE__ */ extremum('min', smaller)
// Comparisons return 1 or 0 as f32.
export const greater = /* @__PURE__ */ comparison('>', exceeds)
export const greaterEqual = /* @__PURE__ */ comparison('>=')
export const less = /* @__PURE__ */ comparison('<')
export const lessEqual = /* @__PURE__ */ comparison('<=')
export const equal = /* @__PURE__ */ comparison('==')
/** Selects by condition: (condition != 0, a, b). */
export const where = /* @__PURE__ */ rule(
  3,
  both,
  ({ names: [condition, a, b], type, conditionType, width: { u } }) => {
    const bits = conditionType === 'u32' ? condition : `(bitcast<${u}>(${condition}) << ${u}(1u))`
    return { text: `select(${b}, ${a}, ${bits} != ${u}(0u))`, type }
  },
)

/** A chain of steps, written as WGSL. */
export interface Chain {
  /** Statements for values that do not depend on any input; they run once per lane. */
  readonly constants: readonly string[]
  /** Statements that compute `s<step>` from the inputs, named `x<index>`. */
  readonly statements: readonly string[]
  /** The name of the last step's value, and its type. */
  readonly result: string
  readonly type: ValueType
  readonly uniforms: Readonly<Record<string, UniformValue>>
  readonly needs: ReadonlySet<WgslFunction>
}

/** Writes the steps as WGSL, checking every index and type. Throws 'argument' or 'shape'. */
export function emitChain(steps: readonly ElementwiseStep[], inputs: readonly DType[], width: Width): Chain {
  const uniforms: Record<string, UniformValue> = {}
  const needs = new Set<WgslFunction>()
  const constants: string[] = []
  const statements: string[] = []
  const values: Value[] = []
  for (const [at, step] of steps.entries()) {
    const name = `s${at}`
    if ('rule' in step) {
      const found = step.args.map(
        (arg) => values[arg] ?? refuse(steps, at, `reads step ${arg}, which is not before it`),
      )
      const { text, type, ...others } = emitStep(steps, at, step, found, width)
      for (const need of others.needs ?? []) needs.add(need)
      Object.assign(uniforms, others.uniforms)
      // A copy shares the name of the original value.
      if (text === found[0]?.name) values.push({ name: text, type })
      else {
        values.push({ name, type })
        statements.push(`let ${name} = ${text};`)
      }
    } else if (step.kind === 'input') {
      const dtype = inputs[step.index]
      if (dtype === undefined) refuse(steps, at, `names input ${step.index}, and there are ${inputs.length}`)
      values.push({ name: `x${step.index}`, type: valueType(dtype) })
    } else {
      uniforms[`constant${at}`] = { f32: step.value }
      values.push({ name, type: 'f32' })
      constants.push(`let ${name} = ${width.f}(u.constant${at});`)
    }
  }
  const result = values.at(-1)
  if (result === undefined) throw new WeftgradError('argument', 'elementwise: there are no steps.', { steps })
  return { constants, statements, result: result.name, type: result.type, uniforms, needs }
}

interface Value {
  readonly name: string
  readonly type: ValueType
}

function emitStep(
  steps: readonly ElementwiseStep[],
  at: number,
  step: OperatorStep,
  found: readonly Value[],
  width: Width,
): Emission {
  const { rule: write } = step
  if (found.length !== write.arity) refuse(steps, at, `takes ${write.arity} arguments, not ${found.length}`)
  const typed = write.arity === 3 ? found.slice(1) : found
  const { type } = itemAt(typed, 0)
  if (!write.types.includes(type) || typed.some((value) => value.type !== type))
    throw new WeftgradError(
      'shape',
      `elementwise: ${step.kind} does not take ${found.map((value) => value.type).join(', ')}; convert with toF32 or toU32.`,
      { steps, at },
    )
  const [a = '', b = '', c = ''] = found.map((value) => value.name)
  const second = steps[step.args[1] ?? -1]
  return write({
    width,
    names: [a, b, c],
    type,
    conditionType: itemAt(found, 0).type,
    same: a === b,
    constant: second !== undefined && 'value' in second ? second.value : undefined,
    at,
    step,
  })
}

function refuse(steps: readonly ElementwiseStep[], at: number, why: string): never {
  throw new WeftgradError('argument', `elementwise: step ${at} (${steps[at]?.kind}) ${why}.`, { steps, at })
}

/** The type of a tensor's values in a kernel. Throws 'shape' for u8 and f16. */
export function valueType(dtype: DType): ValueType {
  if (dtype === 'u8' || dtype === 'f16') {
    throw new WeftgradError('shape', `elementwise: it does not read ${dtype} tensors; gather or convert first.`)
  }
  return dtype
}
