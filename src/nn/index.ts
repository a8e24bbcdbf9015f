/** Layers, models and training, as one namespace: `import { nn } from 'weftgrad'`. */

export type {
  Callbacks,
  EpochLogs,
  Evaluation,
  FitOptions,
  History,
  Progress,
  TrainingCheckpoint,
  TrainingFacts,
} from './contract.ts'
export type { EvaluateModelOptions } from './evaluate.ts'
export { Evaluator, evaluate, predict } from './evaluate.ts'
export { fit } from './fit.ts'
export * from './initializers.ts'
export * from './layers.ts'
export type { ModelCall, ModelOptions, WeightNumbers } from './model.ts'
export { Model, sequential } from './model.ts'
export type { Lenet5Options } from './models/lenet5.ts'
export { lenet5 } from './models/lenet5.ts'
export type { AdamOptions, Optimizer, SgdOptions } from './optimizers.ts'
export { adam, adamw, sgd } from './optimizers.ts'
export type { Schedule } from './schedules.ts'
export { constantRate, cosineRate, stepRate } from './schedules.ts'
export type { TuneTrainingOptions } from './tune.ts'
export { tuneTraining } from './tune.ts'
