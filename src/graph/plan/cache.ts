/**
 * Caches plans by the structure of the graph: graphs with the same operators, attributes, shapes and wiring share one
 * plan, whatever numbers their leaves hold.
 */

import type { Operation, Storage, Value } from '../node.ts'
import { isNode, leafOp, topologicalOrder } from '../node.ts'
import type { Plan, PlanOptions } from './plan.ts'
import { planGraph } from './plan.ts'

const operationNumbers = new WeakMap<Operation, number>()
let nextOperation = 0

/** The number of an operation. Operations are compared by identity, since two may share a name. */
function numberOf(op: Operation): number {
  let number = operationNumbers.get(op)
  if (number === undefined) {
    number = nextOperation++
    operationNumbers.set(op, number)
  }
  return number
}

/** Text that is equal for equal structures, and the leaves in the order in which it numbers them. */
export function structureOf(values: readonly Value[]): { readonly text: string; readonly leaves: readonly Storage[] } {
  const numbers = new Map<number, number>()
  const leaves = new Map<Storage, number>()
  const lines: string[] = []
  const reference = (value: Value): string => `${numbers.get(value.node.id)}.${value.index}`
  for (const node of topologicalOrder(values)) {
    numbers.set(node.id, numbers.size)
    if (isNode(node, leafOp)) {
      const { storage, type } = node.attributes
      if (!leaves.has(storage)) leaves.set(storage, leaves.size)
      lines.push(`leaf ${leaves.get(storage)} ${type.dtype}[${type.shape}]`)
    } else {
      const types = node.outputs.map((type) => `${type.dtype}[${type.shape}]`)
      const inputs = node.inputs.map(reference)
      lines.push(`${numberOf(node.op)} ${attributeText(node.attributes)} ${types} <- ${inputs}`)
    }
  }
  return { text: `${lines.join('\n')}\n=> ${values.map(reference).join()}`, leaves: [...leaves.keys()] }
}

/** Attributes as JSON that also distinguishes infinities and NaN, which plain JSON writes as null, and -0. */
function attributeText(attributes: object): string {
  return JSON.stringify(attributes, (_, value: unknown) =>
    typeof value === 'number' && (!Number.isFinite(value) || Object.is(value, -0))
      ? `number ${Object.is(value, -0) ? '-0' : value}`
      : value,
  )
}

interface CachedPlan {
  readonly plan: Omit<Plan, 'leaves'>
  /** The structure's leaves that the plan reads, by the plan's numbers. Holds no reference to the leaves. */
  readonly leafOrder: readonly number[]
}

/** The most recently used plans. */
export class PlanCache {
  readonly #plans = new Map<string, CachedPlan>()
  readonly #capacity: number

  constructor(capacity = 256) {
    this.#capacity = capacity
  }

  /** Returns the cached plan for these values, with their own leaves; plans it if the structure is new. */
  plan(values: readonly Value[], options: PlanOptions): Plan {
    const { text, leaves } = structureOf(values)
    const key = `${JSON.stringify([options.variants ?? {}, options.fuse ?? true, options.record ?? false])}\n${text}`
    const cached = this.#plans.get(key) ?? planStructure(values, leaves, options)
    this.#plans.delete(key)
    this.#plans.set(key, cached)
    const oldest = this.#plans.keys().next()
    if (this.#plans.size > this.#capacity && oldest.done === false) this.#plans.delete(oldest.value)
    const own = cached.leafOrder.flatMap((number) => leaves[number] ?? [])
    return { ...cached.plan, leaves: own }
  }
}

function planStructure(values: readonly Value[], leaves: readonly Storage[], options: PlanOptions): CachedPlan {
  const { leaves: read, ...plan } = planGraph(
    values.map((value) => ({ value })),
    options,
  )
  return { plan, leafOrder: read.map((storage) => leaves.indexOf(storage)) }
}
