/**
 * The one table of operator cases. It drives the forward and gradient tests against the float64 reference and against
 * TensorFlow.js, the test of every kernel variant, the benchmarks, and the table of operators in docs/support.md.
 * cases/case.ts defines a case.
 */
import { activationCases } from './cases/activation.ts'
import { augmentCases } from './cases/augment.ts'
import { binaryCases } from './cases/binary.ts'
import type { Case } from './cases/case.ts'
import { composedActivationCases } from './cases/composed-activations.ts'
import { convolutionCases, depthwiseCases } from './cases/convolution.ts'
import { chainCases, whereCases } from './cases/elementwise-chains.ts'
import { fusionCases } from './cases/fusion.ts'
import { groupedConvolutionCases } from './cases/grouped-convolution.ts'
import { layerNormalizationCases } from './cases/layer-normalization.ts'
import { denseCases, matmulCases } from './cases/matmul.ts'
import { movementCases } from './cases/movement.ts'
import { networkCases } from './cases/network.ts'
import { normalizationCases } from './cases/normalization.ts'
import { poolCases } from './cases/pool.ts'
import { reduceCases } from './cases/reduce.ts'
import { resizeCases } from './cases/resize.ts'
import { transposedConvolutionCases } from './cases/transposed-convolution.ts'
import { unaryCases } from './cases/unary.ts'
import { winogradCases } from './cases/winograd-convolution.ts'

export type { Case } from './cases/case.ts'
export { inputsOf } from './cases/case.ts'

export const cases: readonly Case[] = [
  ...unaryCases,
  ...binaryCases,
  ...whereCases,
  ...chainCases,
  ...activationCases,
  ...composedActivationCases,
  ...reduceCases,
  ...matmulCases,
  ...denseCases,
  ...convolutionCases,
  ...winogradCases,
  ...groupedConvolutionCases,
  ...transposedConvolutionCases,
  ...depthwiseCases,
  ...poolCases,
  ...resizeCases,
  ...augmentCases,
  ...normalizationCases,
  ...layerNormalizationCases,
  ...movementCases,
  ...networkCases,
  ...fusionCases,
]
