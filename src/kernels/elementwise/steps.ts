/**
 * The steps that elementwise kernels are made of: what each operator is called, which types it takes, and the WGSL it
 * becomes, for one value a lane or four. How a chain of steps is laid over a tensor stands in elementwise.ts.
 */

import { WeftgradError } from '../../errors.ts'
import { at as itemAt } from '../extents.ts'
import type { DType, UniformValue } from '../kernel.ts'
import type { Activation, FunctionName, Width } from '../wgsl/functions.ts'
import { activations } from '../wgsl/functions.ts'

export type UnaryKind =
  | 'neg'
  | 'abs'
  | 'sign'
  | 'exp'
  | 'log'
  | 'sqrt'
  | 'square'
  | 'reciprocal'
  | 'erf'
  | Activation
  | 'clip' // to [min, max], both optional
  | 'toF32'
  | 'toU32' // towards zero, saturating
  | 'copy'

export type BinaryKind =
  | 'add'
  | 'sub'
  | 'mul'
  | 'div'
  | 'pow' // IEEE 754's pow; negative bases have integral exponents only
  | 'maximum'
  | 'minimum'
  | 'greater' // comparisons give f32 1 or 0
  | 'greaterEqual'
  | 'less'
  | 'lessEqual'
  | 'equal'

export type TernaryKind = 'where' // (condition != 0, a, b)

export type ElementwiseKind = UnaryKind | BinaryKind | TernaryKind

export type ElementwiseStep =
  | { readonly kind: 'input'; readonly index: number }
  | { readonly kind: 'constant'; readonly value: number }
  | OperatorStep

export interface OperatorStep {
  readonly kind: ElementwiseKind
  /** Indices of earlier steps. */
  readonly args: readonly number[]
  /** `clip` only; absent means unbounded. */
  readonly min?: number
  readonly max?: number
}

/** What a step's value is. */
export type ValueType = 'f32' | 'u32'

interface Emission {
  readonly text: string
  readonly type: ValueType
  readonly needs?: readonly FunctionName[]
}

interface Operands {
  readonly width: Width
  /** WGSL names of the arguments, which share `type` (the condition of a `where` aside). */
  readonly names: readonly [string, string, string]
  readonly type: ValueType
  readonly conditionType: ValueType
  /** Both arguments are the same value. */
  readonly same: boolean
  /** The second argument where it is a constant. */
  readonly constant: number | undefined
}

interface Rule {
  readonly arity: 1 | 2 | 3
  /** Argument types that have this operator. */
  readonly types: readonly ValueType[]
  readonly emit: (operands: Operands) => Emission
}

const f32Only: readonly ValueType[] = ['f32']
const both: readonly ValueType[] = ['f32', 'u32']

function unary(text: (x: string, width: Width) => string, ...needs: FunctionName[]): Rule {
  return { arity: 1, types: f32Only, emit: ({ names, width }) => ({ text: text(names[0], width), type: 'f32', needs }) }
}

const activationRules = Object.fromEntries(
  Object.entries(activations).map(([kind, name]) => [kind, unary((x) => `${name}(${x})`, name)]),
) as Readonly<Record<Activation, Rule>>

/** `real`: the function for floats, where kernels of other families apply it too. */
function comparison(sign: string, real?: 'exceeds'): Rule {
  return {
    arity: 2,
    types: both,
    emit: ({ names: [a, b], type, width: { f } }) => {
      const plain = `${a} ${sign} ${b}`
      const ordered = real === undefined ? `(${plain}) & ordered(${a}, ${b})` : `${real}(${a}, ${b})`
      return {
        text: `select(${f}(0.0), ${f}(1.0), ${type === 'u32' ? plain : ordered})`,
        type: 'f32',
        needs: type === 'u32' ? [] : [real ?? 'ordered'],
      }
    },
  }
}

function arithmetic(sign: string): Rule {
  return { arity: 2, types: both, emit: ({ names: [a, b], type }) => ({ text: `${a} ${sign} ${b}`, type }) }
}

function extremum(whole: string, real: 'larger' | 'smaller'): Rule {
  return {
    arity: 2,
    types: both,
    emit: ({ names: [a, b], type }) =>
      type === 'u32' ? { text: `${whole}(${a}, ${b})`, type } : { text: `${real}(${a}, ${b})`, type, needs: [real] },
  }
}

/** `x` by a detour through its bits, so that `x - x` and `x / x` of an infinity or NaN are not folded to 0 and 1. */
const opaque = (x: string, { f, u }: Width): string => `bitcast<${f}>(bitcast<${u}>(${x}) + ${u}(u.zero))`

const rules: { readonly [Kind in ElementwiseKind]: Rule } = {
  neg: unary((x) => `-${x}`),
  abs: unary((x) => `abs(${x})`),
  sign: unary((x) => `signOf(${x})`, 'signOf'),
  exp: unary((x) => `exponential(${x})`, 'exponential'),
  log: unary((x) => `naturalLog(${x})`, 'naturalLog'),
  sqrt: unary((x) => `sqrt(${x})`),
  square: unary((x) => `${x} * ${x}`),
  reciprocal: unary((x) => `1.0 / ${x}`),
  erf: unary((x) => `errorFunction(${x})`, 'errorFunction'),
  ...activationRules,
  clip: unary((x) => x), // see emitStep, which knows the bounds
  toF32: {
    arity: 1,
    types: both,
    emit: ({ names: [x], width }) => ({ text: `${width.f}(${x})`, type: 'f32' }),
  },
  toU32: {
    arity: 1,
    types: both,
    emit: ({ names: [x], type }) =>
      type === 'u32' ? { text: x, type } : { text: `truncated(${x})`, type: 'u32', needs: ['truncated'] },
  },
  copy: { arity: 1, types: both, emit: ({ names: [x], type }) => ({ text: x, type }) },
  add: arithmetic('+'),
  sub: {
    arity: 2,
    types: both,
    emit: ({ names: [a, b], type, same, width }) => ({
      text: `${a} - ${same && type === 'f32' ? opaque(b, width) : b}`,
      type,
    }),
  },
  mul: arithmetic('*'),
  div: {
    arity: 2,
    types: f32Only,
    emit: ({ names: [a, b], type, same, width }) => ({ text: `${a} / ${same ? opaque(b, width) : b}`, type }),
  },
  pow: {
    arity: 2,
    types: f32Only,
    // The exponents that networks use cost one or two multiplications instead of a logarithm and an exponential.
    emit: ({ names: [a, b], type, constant }) => {
      if (constant === 1) return { text: a, type }
      if (constant === 2) return { text: `${a} * ${a}`, type }
      if (constant === 3) return { text: `${a} * ${a} * ${a}`, type }
      return { text: `power(${a}, ${b})`, type, needs: ['power'] }
    },
  },
  maximum: extremum('max', 'larger'),
  minimum: extremum('min', 'smaller'),
  greater: comparison('>', 'exceeds'),
  greaterEqual: comparison('>='),
  less: comparison('<'),
  lessEqual: comparison('<='),
  equal: comparison('=='),
  where: {
    arity: 3,
    types: both,
    emit: ({ names: [condition, a, b], type, conditionType, width: { u } }) => {
      const bits = conditionType === 'u32' ? condition : `(bitcast<${u}>(${condition}) << ${u}(1u))`
      return { text: `select(${b}, ${a}, ${bits} != ${u}(0u))`, type }
    },
  },
}

/** A chain of steps written down. */
export interface Chain {
  /** Statements for the values that do not depend on any input; they run once a lane. */
  readonly constants: readonly string[]
  /** Statements that compute `s<step>` from the inputs, which stand in `x<index>`. */
  readonly statements: readonly string[]
  /** The name of the last step's value, and its type. */
  readonly result: string
  readonly type: ValueType
  readonly uniforms: Readonly<Record<string, UniformValue>>
  readonly needs: ReadonlySet<FunctionName>
}

/** Writes the steps down, checking every index and type. Throws 'argument' or 'shape'. */
export function emitChain(steps: readonly ElementwiseStep[], inputs: readonly DType[], width: Width): Chain {
  const uniforms: Record<string, UniformValue> = {}
  const needs = new Set<FunctionName>()
  const constants: string[] = []
  const statements: string[] = []
  const values: Value[] = []
  for (const [at, step] of steps.entries()) {
    const name = `s${at}`
    if (step.kind === 'input') {
      const dtype = inputs[step.index]
      if (dtype === undefined) refuse(steps, at, `names input ${step.index}, and there are ${inputs.length}`)
      values.push({ name: `x${step.index}`, type: valueType(dtype) })
    } else if (step.kind === 'constant') {
      uniforms[`constant${at}`] = { f32: step.value }
      values.push({ name, type: 'f32' })
      constants.push(`let ${name} = ${width.f}(u.constant${at});`)
    } else {
      const found = step.args.map(
        (arg) => values[arg] ?? refuse(steps, at, `reads step ${arg}, which is not before it`),
      )
      const { text, type, needed } = emitStep(steps, at, step, found, width, uniforms)
      for (const need of needed) needs.add(need)
      // A copy is the same value by another name.
      if (text === found[0]?.name) values.push({ name: text, type })
      else {
        values.push({ name, type })
        statements.push(`let ${name} = ${text};`)
      }
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
  uniforms: Record<string, UniformValue>,
): { readonly text: string; readonly type: ValueType; readonly needed: readonly FunctionName[] } {
  const rule = rules[step.kind]
  if (rule === undefined) refuse(steps, at, 'is no elementwise operator')
  if (found.length !== rule.arity) refuse(steps, at, `takes ${rule.arity} arguments, not ${found.length}`)
  const typed = step.kind === 'where' ? found.slice(1) : found
  const type = itemAt(typed, 0).type
  if (!rule.types.includes(type) || typed.some((value) => value.type !== type)) {
    throw new WeftgradError(
      'shape',
      `elementwise: ${step.kind} does not take ${found.map((value) => value.type).join(', ')}; convert with toF32 or toU32.`,
      { steps, at },
    )
  }
  const [a = '', b = '', c = ''] = found.map((value) => value.name)
  if (step.kind === 'clip') {
    const { min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY } = step
    if (!(min <= max)) refuse(steps, at, `needs min <= max, not ${min} and ${max}`)
    uniforms[`low${at}`] = { f32: min }
    uniforms[`high${at}`] = { f32: max }
    const text = `clipped(${a}, ${width.f}(u.low${at}), ${width.f}(u.high${at}))`
    return { text, type, needed: ['clipped'] }
  }
  const second = steps[step.args[1] ?? -1]
  const emission = rule.emit({
    width,
    names: [a, b, c],
    type,
    conditionType: itemAt(found, 0).type,
    same: a === b,
    constant: second?.kind === 'constant' ? second.value : undefined,
  })
  if (emission.text.includes('u.zero')) uniforms.zero = 0
  return { text: emission.text, type: emission.type, needed: emission.needs ?? [] }
}

function refuse(steps: readonly ElementwiseStep[], at: number, why: string): never {
  throw new WeftgradError('argument', `elementwise: step ${at} (${steps[at]?.kind}) ${why}.`, { steps, at })
}

/** What a tensor's values are in a kernel. Throws 'shape' for u8. */
export function valueType(dtype: DType): ValueType {
  if (dtype === 'u8') {
    throw new WeftgradError('shape', 'elementwise: u8 tensors are read by batch gathers only; gather or convert first.')
  }
  return dtype
}
