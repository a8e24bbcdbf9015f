/** ONNX's operators that layers compute, by name. */

import type { Handler } from '../node.ts'
import { elementwiseOperators } from './elementwise.ts'
import { movementOperators } from './movements.ts'
import { normalizationOperators } from './normalizations.ts'
import { productOperators } from './products.ts'
import { reductionOperators } from './reductions.ts'
import { resizingOperators } from './resizing.ts'
import { windowOperators } from './windows.ts'

export const operators: Readonly<Record<string, Handler>> = {
  ...elementwiseOperators,
  ...movementOperators,
  ...normalizationOperators,
  ...productOperators,
  ...reductionOperators,
  ...resizingOperators,
  ...windowOperators,
}

const onImages = new Set([
  'BatchNormalization',
  'GroupNormalization',
  'InstanceNormalization',
  'DepthToSpace',
  'SpaceToDepth',
])

/** Whether an operator takes images: [examples, channels, ...positions]. */
export const isSpatial = (operator: string): boolean =>
  Object.hasOwn(windowOperators, operator) || Object.hasOwn(resizingOperators, operator) || onImages.has(operator)

/** Whether what an operator gives lies as what it takes. */
export const passesLayout = (operator: string): boolean =>
  Object.hasOwn(elementwiseOperators, operator) || operator === 'Pad' || operator === 'Concat' || operator === 'Slice'
