/**
 * Chooses the variant of a family that computes a kernel. A `VariantTable` fixes it for a whole family or for one of
 * its shape classes; otherwise the family's preference decides. Plans record their choices, so that a run can be
 * repeated with the same kernels, and, on request, all that tuning needs to measure the alternatives.
 */

import type { Family, KernelPlan, Target } from '../../kernels/kernel.ts'
import { planKernel } from '../../kernels/kernel.ts'
import type { Kernels, TensorType, Value } from '../node.ts'

/**
 * Variants by `family`, or by `family|shape class`: the more specific entry wins. Unknown entries, and those that the
 * shapes or the adapter do not support, are ignored. Plain JSON.
 */
export type VariantTable = Readonly<Record<string, string>>

/** The variant that a kernel was planned with, for tests, benchmarks and `config.json`. */
export interface Choice {
  /** The operator's kernel family: `conv2d`. */
  readonly family: string
  /** The family's key as text: equal for equal work. */
  readonly shapeClass: string
  /** The planned variant. */
  readonly variant: string
  /** All variants to choose from, the reference variant first. */
  readonly alternatives: readonly string[]
}

/** A kernel to tune. */
export interface KernelTask {
  /** The operator's kernel family. */
  readonly family: string
  /** The family's key as text: equal for equal work. */
  readonly shapeClass: string
  /** Names of the variants that support it, the reference variant first. */
  readonly candidates: readonly string[]
  /** The variant to use if nothing was measured. */
  readonly preferred: string
  /** The types of its inputs. */
  readonly inputs: readonly TensorType[]
  /** The types of its outputs. */
  readonly outputs: readonly TensorType[]
  /** Plans it with one of the candidates. @throws WeftgradError 'argument' for an unknown variant. */
  plan(variant: string): KernelPlan
}

/** The name of a shape class in a `VariantTable`. */
export function classKey({ family, shapeClass }: Pick<Choice, 'family' | 'shapeClass'>): string {
  return `${family}|${shapeClass}`
}

/**
 * A family's key as text, sorted by field, without undefined fields: `bias=true,k=400,m=128,n=256`. It includes every
 * number, the batch too: the fastest variant for 128 rows may not be the fastest for 112.
 */
export function shapeClassOf(key: object): string {
  return fieldsText(key)
}

function fieldsText(fields: object): string {
  return Object.entries(fields)
    .filter(([, value]) => value !== undefined && typeof value !== 'function')
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${name}=${valueText(value)}`)
    .join()
}

function valueText(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(valueText).join()}]`
  if (typeof value === 'object' && value !== null) return `{${fieldsText(value)}}`
  return Object.is(value, -0) ? '-0' : String(value)
}

/** The table's variant for a kernel, if it is one of the candidates. */
export function variantIn(
  table: VariantTable,
  kernel: Pick<Choice, 'family' | 'shapeClass'>,
  candidates: readonly string[],
): string | undefined {
  const wishes = [table[classKey(kernel)], table[kernel.family]]
  return wishes.find((wish) => wish !== undefined && candidates.includes(wish))
}

/** The table with which plans of the same kernels choose the same variants again. */
export function tableOf(choices: readonly Choice[]): VariantTable {
  const entries = choices.map((choice) => [classKey(choice), choice.variant] as const)
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)))
}

function candidatesFor<Key>(family: Family<Key>, key: Key, target: Target): string[] {
  return family.variants.filter((variant) => variant.supports(key, target)).map((variant) => variant.name)
}

/** Describes a kernel with inputs and outputs of these types for tuning. */
export function kernelTask<Key extends object>(
  family: Family<Key>,
  key: Key,
  target: Target,
  { inputs, outputs }: Pick<KernelTask, 'inputs' | 'outputs'>,
): KernelTask {
  const candidates = candidatesFor(family, key, target)
  return {
    family: family.name,
    shapeClass: shapeClassOf(key),
    candidates,
    preferred: family.prefer(key, target),
    inputs,
    outputs,
    plan: (variant) => planKernel(family, key, target, variant),
  }
}

export interface ChooserOptions {
  readonly target: Target
  /** Variants to use instead of the preferred ones. */
  readonly variants?: VariantTable | undefined
  /** True records a task for tuning for each kernel. */
  readonly record?: boolean | undefined
}

type Operands = Pick<KernelTask, 'inputs' | 'outputs'>

/** Plans kernels with the options' variants and records its choices. */
export class KernelChooser implements Kernels {
  readonly target: Target
  readonly choices: Choice[] = []
  readonly tasks: KernelTask[] = []
  readonly #variants: VariantTable
  readonly #record: boolean
  #operands: Operands = { inputs: [], outputs: [] }

  constructor(options: ChooserOptions) {
    this.target = options.target
    this.#variants = options.variants ?? {}
    this.#record = options.record ?? false
  }

  /** Sets the operand types recorded with the kernels planned next. */
  reading({ inputs, outputs }: { inputs: readonly Pick<Value, 'type'>[]; outputs: readonly TensorType[] }): this {
    this.#operands = { inputs: inputs.map((value) => value.type), outputs }
    return this
  }

  plan<Key extends object>(family: Family<Key>, key: Key): KernelPlan {
    const alternatives = candidatesFor(family, key, this.target)
    const kernel = { family: family.name, shapeClass: shapeClassOf(key) }
    const plan = planKernel(family, key, this.target, variantIn(this.#variants, kernel, alternatives))
    this.choices.push({ ...kernel, variant: plan.variant, alternatives })
    if (this.#record) this.tasks.push(kernelTask(family, key, this.target, this.#operands))
    return plan
  }
}
