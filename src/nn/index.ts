/**
 * Layers, models and training, as one namespace: `import { nn } from 'weftgrad'`.
 * @module
 */

export { Random } from '../random.ts'
export type { AugmentOptions } from './augment.ts'
export { augment } from './augment.ts'
export type { EarlyStoppingOptions, PlateauOptions, WatchOptions } from './callbacks.ts'
export { earlyStopping, reduceLROnPlateau } from './callbacks.ts'
export { decodeCheckpoint, encodeCheckpoint } from './checkpoint.ts'
export type {
  Callbacks,
  Decision,
  EpochLogs,
  EpochResult,
  Evaluation,
  FitOptions,
  History,
  Monitor,
  Progress,
  TrainingCheckpoint,
  TrainingFacts,
  TrainingSettings,
} from './contract.ts'
export type { Description } from './described.ts'
export type { EvaluateModelOptions, ScoreOptions } from './evaluate.ts'
export { Evaluator, evaluate } from './evaluate.ts'
export { fit } from './fit.ts'
export type { FreezeOptions } from './freeze.ts'
export { FrozenModel, freeze } from './freeze.ts'
export type { AugmentationCall, BatchAugmentation, TrainingAugmentation } from './gather-inputs.ts'
export type {
  GainOptions,
  Initializer,
  InitializerName,
  InitializerOption,
  NormalOptions,
  VarianceScalingOptions,
} from './initializers.ts'
export {
  constantInitializer,
  glorotNormal,
  glorotUniform,
  heNormal,
  heUniform,
  identityInitializer,
  lecunNormal,
  lecunUniform,
  onesInitializer,
  orthogonal,
  randomNormal,
  randomUniform,
  truncatedNormal,
  varianceScaling,
  zerosInitializer,
} from './initializers.ts'
export type { LayerConfig, LayerDescription, LayerMaker } from './layers/registry.ts'
export * from './layers.ts'
export type { LoadModelOptions, ModelSource } from './load-model.ts'
export { loadModel } from './load-model.ts'
export type { CrossentropyOptions } from './losses.ts'
export {
  binaryCrossentropy,
  categoricalCrossentropy,
  huber,
  meanAbsoluteError,
  meanSquaredError,
  sparseCategoricalCrossentropy,
} from './losses.ts'
export type { ThresholdOptions } from './metrics.ts'
export { accuracy, binaryAccuracy, f1Score, precision, recall, topKAccuracy } from './metrics.ts'
export type { ModelCall, ModelOptions, PlacedLayer, WiredLayer } from './model.ts'
export { Model, sequential } from './model.ts'
export type { DecodedModel, DecodeModelOptions, EncodeModelOptions } from './model-file.ts'
export { decodeModel, encodeModel } from './model-file.ts'
export type { LoadProgress, ModelWeight, ReadWeight, WeightMatch, WeightNumbers, WeightPlace } from './model-weights.ts'
export type { Lenet5Options } from './models/lenet5.ts'
export { lenet5 } from './models/lenet5.ts'
export type { PretrainedName, PretrainedNetwork } from './models/pretrained.ts'
export { pretrained } from './models/pretrained.ts'
export type { PretrainedOptions } from './models/pretrained-options.ts'
export { resnet152v2 } from './models/resnet152v2.ts'
export { vgg16 } from './models/vgg16.ts'
export { xception } from './models/xception.ts'
export type { Loss, Metric, RowFunction, Scores } from './objective.ts'
export type {
  AdamOptions,
  Optimizer,
  OptimizerGroup,
  RmspropOptions,
  SgdOptions,
  UpdateOptions,
} from './optimizers.ts'
export { adam, adamw, rmsprop, sgd } from './optimizers.ts'
export type { PredictOptions } from './predict.ts'
export { predict } from './predict.ts'
export type { Prediction, PreprocessingMode } from './preprocessing.ts'
export { decodePredictions, preprocessInput } from './preprocessing.ts'
export type { L1L2Options, Regularizer, RegularizerName, RegularizerOption } from './regularizers.ts'
export { l1, l1l2, l2 } from './regularizers.ts'
export type { Schedule } from './schedules.ts'
export { constantRate, cosineRate, stepRate } from './schedules.ts'
export type { StepInputs, StepLoss, TrainStepOptions } from './train-step.ts'
export { TrainStep, trainStep } from './train-step.ts'
export type { Trainable, TrainableWeight } from './trainable.ts'
export { Parameters, parameters } from './trainable.ts'
export type { TuneTrainingOptions } from './tune.ts'
export { tuneTraining } from './tune.ts'
export type { Place } from './wiring.ts'
export { Wiring } from './wiring.ts'
