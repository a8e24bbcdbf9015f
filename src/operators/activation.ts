/** Activations by name: what layers, `dense` and `conv2d` apply to their result. */

import type { Node } from '../graph/node.ts'
import { type Kind, oneOf } from '../options.ts'
import { reluOp, sigmoidOp, tanhOp } from './elementwise.ts'
import { apply } from './operator.ts'
import type { Tensor } from './tensor.ts'

const operators = { relu: reluOp, sigmoid: sigmoidOp, tanh: tanhOp } as const

/** Functions that a layer applies to its result. */
export type Activation = 'linear' | keyof typeof operators

/** An activation that kernels apply to their result before they store it. */
export type FusedActivation = keyof typeof operators

export const anActivation: Kind = /* @__PURE__ */ oneOf('linear', 'relu', 'sigmoid', 'tanh' satisfies Activation)

/** The activation of a tensor. Rewriting moves it into the kernel that computes x, where nothing else reads x. */
export function activate(activation: Activation, x: Tensor): Tensor {
  return activation === 'linear' ? x : apply(operators[activation], [x], {})
}

/** The activation that a node computes, if it is one. */
export function activationOf({ op }: Node): FusedActivation | undefined {
  const names = Object.keys(operators) as FusedActivation[]
  return names.find((name) => operators[name] === op)
}
