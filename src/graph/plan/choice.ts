/**
 * Which variant of a family computes a kernel. A `VariantTable` says so for a whole family or for one shape class of it;
 * what it does not say is left to the family's preference. Plans record what they chose, so that a run can be repeated
 * with the very same kernels, and, when asked, everything that tuning needs to measure the alternatives.
 */

import type { Family, KernelPlan, Target } from '../../kernels/kernel.ts'
import { planKernel } from '../../kernels/kernel.ts'
import type { TensorType } from '../node.ts'

/**
 * Variants by `family`, or by `family|shape class`: the finer entry wins. Entries that are unknown, or that the shapes or
 * the adapter do not support, are ignored. Plain JSON.
 */
export type VariantTable = Readonly<Record<string, string>>

/** Which variant a kernel was planned with, for tests, benchmarks and `config.json`. */
export interface Choice {
  /** The operator's family of kernels: `conv2d`. */
  readonly family: string
  /** Text of the family's key: equal for equal work. */
  readonly shapeClass: string
  /** The one it was planned with. */
  readonly variant: string
  /** The variants that could have been chosen, the plain one first. */
  readonly alternatives: readonly string[]
}

/** A kernel as tuning sees it. */
export interface KernelTask {
  /** The operator's family of kernels. */
  readonly family: string
  /** Text of the family's key: equal for equal work. */
  readonly shapeClass: string
  /** Names of the variants that can do it, the plain one first. */
  readonly candidates: readonly string[]
  /** The one that is used where nothing was measured. */
  readonly preferred: string
  /** What it reads. */
  readonly inputs: readonly TensorType[]
  /** What it writes. */
  readonly outputs: readonly TensorType[]
  /** Its dispatches by one of the candidates. @throws WeftgradError 'argument' for a variant that is none. */
  plan(variant: string): KernelPlan
}

/** The name of a shape class in a `VariantTable`. */
export function classKey({ family, shapeClass }: Pick<Choice, 'family' | 'shapeClass'>): string {
  return `${family}|${shapeClass}`
}

/**
 * A family's key as text, fields by name and without those that are undefined: `bias=true,k=400,m=128,n=256`. Every number
 * counts, the batch too: what is fastest for 128 rows need not be for 112.
 */
export function shapeClassOf(key: object): string {
  return fieldsText(key)
}

function fieldsText(fields: object): string {
  return Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${name}=${valueText(value)}`)
    .join()
}

function valueText(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(valueText).join()}]`
  if (typeof value === 'object' && value !== null) return `{${fieldsText(value)}}`
  return Object.is(value, -0) ? '-0' : String(value)
}

/** The variant that the table has for a kernel, if it is one of the candidates. */
export function variantIn(
  table: VariantTable,
  kernel: Pick<Choice, 'family' | 'shapeClass'>,
  candidates: readonly string[],
): string | undefined {
  const wishes = [table[classKey(kernel)], table[kernel.family]]
  return wishes.find((wish) => wish !== undefined && candidates.includes(wish))
}

/** The table that makes plans of the same kernels choose the same again. */
export function tableOf(choices: readonly Choice[]): VariantTable {
  const entries = choices.map((choice) => [classKey(choice), choice.variant] as const)
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)))
}

function candidatesFor<Key>(family: Family<Key>, key: Key, target: Target): string[] {
  return family.variants.filter((variant) => variant.supports(key, target)).map((variant) => variant.name)
}

/** What tuning needs to know of a kernel that reads and writes tensors of these types. */
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
  /** True keeps what tuning needs to know of each kernel. */
  readonly record?: boolean | undefined
}

type Operands = Pick<KernelTask, 'inputs' | 'outputs'>

/** Plans kernels by the options' variants and remembers what it chose. */
export class KernelChooser {
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

  /** Says what the kernels that are planned next read and write. */
  plansFor(inputs: readonly TensorType[], outputs: readonly TensorType[]): this {
    this.#operands = { inputs, outputs }
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
