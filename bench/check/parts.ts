/** The parts of a check, in order: correctness first, then quick measurements, then what fills the remaining time. */

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
