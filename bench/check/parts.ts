/** The parts of a check, in the order in which they run: what is right, what is quickly measured, then what fills the time that is left. */

import type { Part } from './part.ts'
import { adapterPart } from './parts/adapter.ts'
import { convolutionsPart } from './parts/convolutions.ts'
import { determinismPart } from './parts/determinism.ts'
import { latencyPart } from './parts/latency.ts'
import { lenetPart } from './parts/lenet.ts'
import { matmulPart } from './parts/matmul.ts'
import { memoryPart } from './parts/memory.ts'
import { networksPart } from './parts/networks.ts'
import { operatorsPart } from './parts/operators.ts'
import { trajectoryPart } from './parts/trajectory.ts'
import { tuningPart } from './parts/tuning.ts'

export const allParts: readonly Part[] = [
  adapterPart,
  operatorsPart,
  trajectoryPart,
  determinismPart,
  latencyPart,
  memoryPart,
  lenetPart,
  tuningPart,
  matmulPart,
  networksPart,
  convolutionsPart,
]
