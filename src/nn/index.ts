/**
 * Layers, models and training, as one namespace: `import { nn } from 'weftgrad'`.
 * @module
 */

export type { Random } from '../random.ts'
export type {
  Callbacks,
  EpochLogs,
  Evaluation,
  FitOptions,
  History,
  Progress,
  TrainingCheckpoint,
  TrainingFacts,
  TrainingSettings,
} from './contract.ts'
export type { EvaluateModelOptions } from './evaluate.ts'
export { Evaluator, evaluate, predict } from './evaluate.ts'
export { fit } from './fit.ts'
export type { FreezeOptions } from './freeze.ts'
export { FrozenModel, freeze } from './freeze.ts'
export * from './initializers.ts'
export type { LayerConfig, LayerDescription, LayerMaker } from './layers/registry.ts'
export * from './layers.ts'
export type { ModelCall, ModelOptions, PlacedLayer, WiredLayer } from './model.ts'
export { Model, sequential } from './model.ts'
export type { DecodedModel, DecodeModelOptions, EncodeModelOptions } from './model-file.ts'
export { decodeModel, encodeModel } from './model-file.ts'
export type { LoadProgress, ModelWeight, ReadWeight, WeightNumbers, WeightPlace } from './model-weights.ts'
export type { Lenet5Options } from './models/lenet5.ts'
export { lenet5 } from './models/lenet5.ts'
export type { PretrainedName, PretrainedNetwork } from './models/pretrained.ts'
export { pretrained } from './models/pretrained.ts'
export type { PretrainedOptions } from './models/pretrained-options.ts'
export { resnet152v2 } from './models/resnet152v2.ts'
export { vgg16 } from './models/vgg16.ts'
export { xception } from './models/xception.ts'
export type { AdamOptions, Optimizer, SgdOptions } from './optimizers.ts'
export { adam, adamw, sgd } from './optimizers.ts'
export type { Prediction, PreprocessingMode } from './preprocessing.ts'
export { decodePredictions, preprocessInput } from './preprocessing.ts'
export type { Schedule } from './schedules.ts'
export { constantRate, cosineRate, stepRate } from './schedules.ts'
export type { TuneTrainingOptions } from './tune.ts'
export { tuneTraining } from './tune.ts'
export type { Place } from './wiring.ts'
export { Wiring } from './wiring.ts'
