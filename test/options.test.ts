/**
 * Wrong options from JavaScript callers: every public function that takes options refuses an unknown name, suggesting
 * the nearest known one, and a value of the wrong type. The compiler lists the functions; each must be in the table
 * below, so a function without a check is noticed.
 */
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import { describe, expect, it } from 'vitest'
import { fashionMnistParts } from '../src/data/fashion-mnist.ts'
import { WeftgradError } from '../src/errors.ts'
import { open as openInBrowser } from '../src/gpu/open.ts'
import type { Device, nn as networks, Tensor } from '../src/node.ts'
import * as weftgrad from '../src/node.ts'
import { useDevice } from './support/device.ts'
import { failure } from './support/failure.ts'
import type { Given } from './support/given.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const device = useDevice()
const { data, nn, tensor, weights } = weftgrad

/** Everything a call may need; it must not get as far as using any of it. */
interface Props {
  readonly device: Device
  readonly model: networks.Model
  readonly set: weftgrad.data.ImageDataset
  readonly x: Tensor
  readonly images: Tensor
}

interface Row {
  readonly call: (given: Given, props: Props) => unknown
  /** The options that it cannot do without. */
  readonly base?: object
  /** An option, and a value of the wrong type. */
  readonly wrong: readonly [name: string, value: unknown]
  /** A string in place of the options is a layer's name. */
  readonly takesName?: true
}

const evaluating = (call: Row['call']): Row => ({ call, wrong: ['device', 'gpu'] })
const layer = (call: Row['call'], ...wrong: Row['wrong']): Row => ({ call, wrong, takesName: true })
const bytes = new Uint8Array(64)
/** Rows by the function's name, followed by the position of the options among its parameters. */
const table: Readonly<Record<string, Row>> = {
  'Tensor#data 0': evaluating((o, { x }) => x.data(o)),
  'Tensor#item 0': evaluating((o) => weftgrad.sum(tensor([1])).item(o)),
  'Tensor#keep 0': evaluating((o, { x }) => x.keep(o)),
  'KeptTensor#data 0': evaluating((o, { x }) => x.data(o)),
  'KeptTensor#item 0': evaluating((o) => weftgrad.sum(tensor([1])).item(o)),
  'KeptTensor#keep 0': evaluating((o, { x }) => x.keep(o)),
  'evaluate 1': evaluating((o, { x }) => weftgrad.evaluate([x], o)),
  'keep 1': evaluating((o, { x }) => weftgrad.keep([x], o)),
  'planOf 1': evaluating((o, { x }) => weftgrad.planOf([x], o)),
  'gradCheck 2': {
    call: (o, { x }) => weftgrad.gradCheck((t) => weftgrad.sum(t), [x], o),
    wrong: ['directions', 'all'],
  },
  'sum 1': { call: (o, { x }) => weftgrad.sum(x, o), wrong: ['keepDims', 'yes'] },
  'mean 1': { call: (o, { x }) => weftgrad.mean(x, o), wrong: ['keepDims', 1] },
  'max 1': { call: (o, { x }) => weftgrad.max(x, o), wrong: ['keepDims', null] },
  'min 1': { call: (o, { x }) => weftgrad.min(x, o), wrong: ['keepDims', []] },
  'argmax 1': { call: (o, { x }) => weftgrad.argmax(x, o), wrong: ['axis', '1'] },
  'matmul 2': { call: (o, { x }) => weftgrad.matmul(x, x, o), wrong: ['transposeB', 'yes'] },
  'conv2dTranspose 3': {
    call: (o, { images, x }) => weftgrad.conv2dTranspose(images, x, undefined, o),
    wrong: ['strides', 'two'],
  },
  'elu 1': { call: (o, { x }) => weftgrad.elu(x, o), wrong: ['alpha', '1'] },
  'leakyRelu 1': { call: (o, { x }) => weftgrad.leakyRelu(x, o), wrong: ['negativeSlope', '0.1'] },
  'gelu 1': { call: (o, { x }) => weftgrad.gelu(x, o), wrong: ['approximate', 'tanh'] },
  'layerNormalization 1': { call: (o, { x }) => weftgrad.layerNormalization(x, o), wrong: ['epsilon', 'small'] },
  'dense 3': { call: (o, { x }) => weftgrad.dense(x, x, undefined, o), wrong: ['activation', 'gelu'] },
  'conv2d 3': { call: (o, { images }) => weftgrad.conv2d(images, images, undefined, o), wrong: ['strides', 'two'] },
  'depthwiseConv2d 2': { call: (o, { images }) => weftgrad.depthwiseConv2d(images, images, o), wrong: ['padding', 1] },
  'maxPool 1': {
    call: (o, { images }) => weftgrad.maxPool(images, o),
    base: { poolSize: 1 },
    wrong: ['poolSize', '2'],
  },
  'averagePool 1': {
    call: (o, { images }) => weftgrad.averagePool(images, o),
    base: { poolSize: 1 },
    wrong: ['padding', 'full'],
  },
  'resize 1': {
    call: (o, { images }) => weftgrad.resize(images, o),
    base: { height: 2, width: 2 },
    wrong: ['width', '2'],
  },
  'batchNormalization 1': {
    call: (o, { x }) => weftgrad.batchNormalization(x, o),
    base: { mean: tensor([0, 0]), variance: tensor([1, 1]) },
    wrong: ['variance', [1, 1]],
  },
  'batchNormalizationTraining 1': {
    call: (o, { x }) => weftgrad.batchNormalizationTraining(x, o),
    wrong: ['epsilon', '1e-3'],
  },
  'softmaxCrossEntropy 2': {
    call: (o, { x }) => weftgrad.softmaxCrossEntropy(x, tensor([0, 1], [2], 'u32'), o),
    wrong: ['reduction', 'average'],
  },
  'dropout 1': { call: (o, { x }) => weftgrad.dropout(x, o), base: { rate: 0.5, seed: 1 }, wrong: ['rate', '0.5'] },
  'defineOp 0': {
    call: (o) => weftgrad.defineOp(o),
    base: { name: 'own', shape: () => [], plan: () => undefined },
    wrong: ['vjp', []],
  },
  'dispatch 0': {
    call: (o) => weftgrad.dispatch(o),
    base: { label: 'own', bindings: [], workgroupSize: 1, workgroups: 1, body: '' },
    wrong: ['subgroups', 'yes'],
  },
  'tune 2': { call: (o, props) => weftgrad.tune(props.device, [], o), wrong: ['budgetMs', '3 s'] },
  'open 0': { call: (o) => weftgrad.open(o), wrong: ['log', 'stderr'] },
  'open in a browser 0': { call: (o) => openInBrowser(o), wrong: ['powerPreference', 1] },
  'loadFashionMnist 0': { call: (o) => weftgrad.loadFashionMnist(o), wrong: ['missing', 'skip'] },
  'FileTuningStore 0': { call: (o) => new weftgrad.FileTuningStore(o), wrong: ['folder', 1] },
  'data.arrays 0': { call: (o) => data.arrays(o), base: { x: [1], y: [1] }, wrong: ['shape', 1] },
  'data.csv 1': { call: (o) => data.csv('a,b\n1,2\n', o), base: { target: 'b' }, wrong: ['features', 'a'] },
  'data.generator 0': {
    call: (o) => data.generator(o),
    base: { shape: [1], count: 1, batches: () => [] },
    wrong: ['stepsAtOnce', 0],
  },
  'data.GeneratorDataset 0': {
    call: (o) => new data.GeneratorDataset(o),
    base: { shape: [1], count: 1, batches: () => [] },
    wrong: ['batches', []],
  },
  'data.imageFolder 1': {
    call: (o) => data.imageFolder('/dev/null', o),
    base: { size: 4, channels: 3 },
    wrong: ['split', 1],
  },
  'data.imageFiles 1': { call: (o) => data.imageFiles([], o), base: { size: 4, channels: 3 }, wrong: ['channels', 2] },
  'data.gunzip 1': { call: (o) => data.gunzip(bytes, o), wrong: ['maxBytes', '1 GB'] },
  'data.fashionMnist 1': { call: (o, props) => data.fashionMnist(props.device, o), wrong: ['signal', 'stop'] },
  'data.residentImages 1': {
    call: (o, props) => data.residentImages(props.device, o),
    base: { images: bytes.subarray(0, 4), labels: [0], height: 2, width: 2, channels: 1, classes: 1 },
    wrong: ['images', new Float32Array(4)],
  },
  'data.encodePng 0': {
    call: (o) => data.encodePng(o),
    base: { width: 2, height: 2, channels: 1, data: bytes.subarray(0, 4) },
    wrong: ['data', new Float32Array(4)],
  },
  'data.parseFashionMnist 1': {
    call: (o) => data.parseFashionMnist(Object.fromEntries(fashionMnistParts.map((part) => [part, bytes])) as Given, o),
    wrong: ['anyCount', 'yes'],
  },
  'data.parseFashionMnistCsv 1': { call: (o) => data.parseFashionMnistCsv(bytes, o), wrong: ['missing', 'skip'] },
  'data.FeatureDataset.allocate 1': {
    call: (o, props) => data.FeatureDataset.allocate(props.device, o),
    base: { width: 1, labels: [0], classes: 1 },
    wrong: ['width', '1'],
  },
  'nn.fit 2': {
    call: (o, { model, set }) => nn.fit(model, set, o),
    base: { optimizer: nn.adam(), epochs: 1, batchSize: 1 },
    wrong: ['optimizer', 'adam'],
  },
  'nn.tuneTraining 2': {
    call: (o, { model, set }) => nn.tuneTraining(model, set, o),
    base: { optimizer: nn.adam(), batchSize: 1 },
    wrong: ['store', {}],
  },
  'nn.evaluate 2': { call: (o, { model, set }) => nn.evaluate(model, set, o), wrong: ['batchSize', '7'] },
  'nn.Evaluator.create 2': { call: (o, { model, set }) => nn.Evaluator.create(model, set, o), wrong: ['batchSize', 0] },
  'nn.Evaluator#run 0': {
    call: async (o, { model, set }) => {
      const evaluator = await nn.Evaluator.create(model, set)
      return await evaluator.run(o).finally(() => evaluator.dispose())
    },
    wrong: ['predictions', 'all'],
  },
  'nn.predict 3': {
    call: (o, { model }) => nn.predict(model, new Uint8Array(1024), [32, 32, 1], o),
    wrong: ['flipAverage', 'yes'],
  },
  'nn.freeze 1': { call: (o, { model }) => nn.freeze(model, o), wrong: ['keep', 'logits'] },
  'nn.Model 3': {
    call: (o) => new nn.Model('m', [2], [{ layer: nn.flatten(), inputs: [-1] }], o),
    wrong: ['seed', 'a'],
  },
  'nn.Model#call 1': {
    call: (o, { model }) => model.call(tensor(new Float32Array(1024), [1, 32, 32, 1]), o),
    wrong: ['training', 1],
  },
  'nn.Model#logits 1': {
    call: (o, { model }) => model.logits(tensor(new Float32Array(1024), [1, 32, 32, 1]), o),
    wrong: ['training', 1],
  },
  'nn.FrozenModel#logits 1': {
    call: (o, { model }) => nn.freeze(model).logits(tensor(new Float32Array(1024), [1, 32, 32, 1]), o),
    wrong: ['tap', {}],
  },
  'nn.FrozenModel#call 1': {
    call: (o, { model }) => nn.freeze(model).call(tensor(new Float32Array(1024), [1, 32, 32, 1]), o),
    wrong: ['tap', {}],
  },
  'nn.Wiring#model 2': {
    call: (o) => {
      const net = new nn.Wiring()
      net.chain(net.input, nn.flatten())
      return net.model('m', [2], o)
    },
    wrong: ['trainable', ['dense']],
  },
  'nn.sequential 3': { call: (o) => nn.sequential('m', [2], [nn.flatten()], o), wrong: ['seed', '1'] },
  'nn.encodeModel 1': { call: (o) => nn.encodeModel(nn.lenet5({ units: [8, 4] }), o), wrong: ['classNames', 'a'] },
  'nn.saveModel 2': {
    call: (o) => nn.saveModel(nn.lenet5({ units: [8, 4] }), '/dev/null/model', o),
    wrong: ['description', 'mine'],
  },
  'nn.loadModel 1': { call: (o) => nn.loadModel(fileURLToPath(import.meta.url), o), wrong: ['customLayers', 'Dense'] },
  'nn.decodeModel 1': { call: (o) => nn.decodeModel(new Uint8Array(), o), wrong: ['customLayers', 'Dense'] },
  'nn.lenet5 0': { call: (o) => nn.lenet5(o), wrong: ['units', 256] },
  'nn.lenet5 1': { call: (o) => nn.lenet5({}, o), wrong: ['seed', '1'] },
  'nn.resnet152v2 0': { call: (o) => nn.resnet152v2(o), wrong: ['pooling', 'mean'] },
  'nn.resnet152v2 1': { call: (o) => nn.resnet152v2({ size: 32 }, o), wrong: ['seed', '1'] },
  'nn.vgg16 0': { call: (o) => nn.vgg16(o), wrong: ['includeTop', 'yes'] },
  'nn.vgg16 1': { call: (o) => nn.vgg16({}, o), wrong: ['seed', '1'] },
  'nn.xception 0': { call: (o) => nn.xception(o), wrong: ['size', '71'] },
  'nn.xception 1': { call: (o) => nn.xception({}, o), wrong: ['seed', '1'] },
  'nn.augment 0': { call: (o) => nn.augment(o), wrong: ['rotation', '10'] },
  'nn.identityInitializer 0': { call: (o) => nn.identityInitializer(o), wrong: ['gain', '1'] },
  'nn.orthogonal 0': { call: (o) => nn.orthogonal(o), wrong: ['gain', '1'] },
  'nn.randomNormal 0': { call: (o) => nn.randomNormal(o), wrong: ['stddev', '1'] },
  'nn.truncatedNormal 0': { call: (o) => nn.truncatedNormal(o), wrong: ['stddev', '1'] },
  'nn.randomUniform 0': { call: (o) => nn.randomUniform(o), wrong: ['minval', '1'] },
  'nn.varianceScaling 0': { call: (o) => nn.varianceScaling(o), wrong: ['distribution', 'normal'] },
  'nn.l1l2 0': { call: (o) => nn.l1l2(o), wrong: ['l2', '1'] },
  'nn.Model#setWeights 1': { call: (o, { model }) => model.setWeights(new Map(), o), wrong: ['partial', 1] },
  'nn.FrozenModel#setWeights 1': {
    call: (o, { model }) => nn.freeze(model).setWeights(new Map(), o),
    wrong: ['partial', 1],
  },
  'nn.Model#features 2': {
    call: (o, { model }) => model.features(tensor(new Float32Array(1024), [1, 32, 32, 1]), ['conv1'], o),
    wrong: ['training', 1],
  },
  'nn.FrozenModel#features 2': {
    call: (o, { model }) => nn.freeze(model).features(tensor(new Float32Array(1024), [1, 32, 32, 1]), ['conv1'], o),
    wrong: ['training', 1],
  },
  'nn.adam 0': { call: (o) => nn.adam(o), wrong: ['learningRate', '1e-3'] },
  'nn.adamw 0': { call: (o) => nn.adamw(o), wrong: ['weightDecay', '4e-3'] },
  'nn.rmsprop 0': { call: (o) => nn.rmsprop(o), wrong: ['rho', 1] },
  'nn.sparseCategoricalCrossentropy 0': {
    call: (o) => nn.sparseCategoricalCrossentropy(o),
    wrong: ['ignoreClass', -1],
  },
  'nn.categoricalCrossentropy 0': { call: (o) => nn.categoricalCrossentropy(o), wrong: ['labelSmoothing', 1] },
  'nn.binaryCrossentropy 0': { call: (o) => nn.binaryCrossentropy(o), wrong: ['labelSmoothing', '0'] },
  'nn.huber 0': { call: (o) => nn.huber(o), wrong: ['delta', 0] },
  'nn.binaryAccuracy 0': { call: (o) => nn.binaryAccuracy(o), wrong: ['threshold', 'half'] },
  'nn.precision 0': { call: (o) => nn.precision(o), wrong: ['threshold', 'half'] },
  'nn.recall 0': { call: (o) => nn.recall(o), wrong: ['threshold', 'half'] },
  'nn.f1Score 0': { call: (o) => nn.f1Score(o), wrong: ['threshold', 'half'] },
  'nn.earlyStopping 0': { call: (o) => nn.earlyStopping(o), wrong: ['patience', -1] },
  'nn.reduceLROnPlateau 0': { call: (o) => nn.reduceLROnPlateau(o), wrong: ['factor', 1] },
  'nn.csvLog 1': { call: (o) => nn.csvLog('log.csv', o), wrong: ['append', 'yes'] },
  'nn.trainStep 3': {
    call: (o, { model }) => nn.trainStep(model, nn.meanSquaredError(), nn.adam(), o),
    wrong: ['seed', 'one'],
  },
  'weights.loadModel 1': {
    call: (o) => weights.loadModel({ read: async () => new Float32Array() } as never, o),
    wrong: ['inputShape', 3],
  },
  'weights.loadWeights 3': {
    call: (o, { model, device }) =>
      weights.loadWeights(model, device, { read: async () => new Float32Array() } as never, o),
    wrong: ['ignoreDescription', 'yes'],
  },
  'nn.dropout 1': layer((o) => nn.dropout(0.5, o as object), 'noiseShape', 3),
  'nn.sgd 0': { call: (o) => nn.sgd(o), wrong: ['nesterov', 1] },
  'nn.cosineRate 1': { call: (o) => nn.cosineRate(0.1, o), wrong: ['warmupSteps', '10'] },
  'nn.stepRate 1': { call: (o) => nn.stepRate(0.1, o), base: { every: 3 }, wrong: ['every', '3'] },
  'nn.decodePredictions 2': {
    call: (o) => nn.decodePredictions(Float32Array.of(1), { 0: ['n1', 'one'] }, o),
    wrong: ['top', '5'],
  },
  'nn.dense 1': layer((o) => nn.dense(8, o), 'activation', 'gelu'),
  'nn.conv2d 2': layer((o) => nn.conv2d(8, 3, o), 'kernelInitializer', 'he-normal'),
  'nn.conv1d 2': layer((o) => nn.conv1d(8, 3, o), 'padding', [1, 1]),
  'nn.conv2dTranspose 2': layer((o) => nn.conv2dTranspose(8, 3, o), 'useBias', 'no'),
  'nn.depthwiseConv2d 1': layer((o) => nn.depthwiseConv2d(3, o), 'depthMultiplier', 1.5),
  'nn.separableConv2d 2': layer((o) => nn.separableConv2d(8, 3, o), 'useBias', 'no'),
  'nn.concatenate 0': layer((o) => nn.concatenate(o), 'axis', 'channels'),
  'nn.batchNormalization 0': layer((o) => nn.batchNormalization(o), 'epsilon', '1e-3'),
  'nn.layerNormalization 0': layer((o) => nn.layerNormalization(o), 'epsilon', '1e-3'),
  'nn.groupNormalization 0': layer((o) => nn.groupNormalization(o), 'groups', 1.5),
  'nn.multiHeadAttention 2': layer((o) => nn.multiHeadAttention(2, 3, o), 'valueDim', 0),
  'nn.reLU 0': layer((o) => nn.reLU(o), 'maxValue', '6'),
  'nn.pReLU 0': layer((o) => nn.pReLU(o), 'sharedAxes', 1),
  'nn.leakyReLU 0': layer((o) => nn.leakyReLU(o), 'negativeSlope', '0.1'),
  'nn.elu 0': layer((o) => nn.elu(o), 'alpha', '1'),
  'nn.rescaling 1': layer((o) => nn.rescaling(2, o), 'offset', '1'),
  'nn.upSampling2d 0': layer((o) => nn.upSampling2d(o), 'interpolation', 'cubic'),
  'nn.maxPooling2d 0': layer((o) => nn.maxPooling2d(o), 'poolSize', [2]),
  'nn.averagePooling2d 0': layer((o) => nn.averagePooling2d(o), 'strides', 0),
  'weights.open 1': { call: (o) => weights.open(bytes, o), wrong: ['openShard', 'folder/'] },
  'weights.find 1': { call: (o) => weights.find('vgg16', o), wrong: ['withTop', 'yes'] },
  'weights.findClassIndex 0': { call: (o) => weights.findClassIndex(o), wrong: ['log', 1] },
}

/** Types of parameters that are objects, not options: classes and calls of weftgrad, and custom data sets or layers. */
const things = new Set([
  ...[
    'AdapterFacts',
    'ArrayResident',
    'BatchRows',
    'BufferSlice',
    'Dataset',
    'Device',
    'Layer',
    'Loss',
    'ModelWeight',
    'NamedIdx',
    'Operand',
    'Optimizer',
    'Parameters',
    'PixelAttributes',
    'Resident',
    'StepInputs',
    'TrainingCheckpoint',
  ],
  ...['Shader', 'TensorType', 'Value', 'WeightBuffers', 'WeightFile', 'WeightPlace', 'WeightSpec'],
  'Augmentation', // that of `Dataset.batch`, which `fit` calls; `fit` checks it
])

/**
 * Records whose fields are all required, so that a misspelt one is missed; and the results of `input(0)` and the like.
 */
const records = new Set(['data.parseFashionMnist 0', 'reads 1', 'writes 1'])

/** Whether a function is internal, or a class that others create. */
const isInternal = (name: string): boolean =>
  /##|^new nn\.(Evaluator|TrainStep|Parameters)$|^new (Kept)?Tensor$/.test(name)

/** The parameters of public functions, constructors and methods that take an object with named members: options. */
function publicOptions(): string[] {
  const config = ts.readConfigFile(join(root, 'tsconfig.json'), ts.sys.readFile).config
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, root)
  const entries = ['index', 'node', 'data/index', 'nn/index', 'weights/index'].map((name) =>
    join(root, `src/${name}.ts`),
  )
  const program = ts.createProgram(entries, options)
  const checker = program.getTypeChecker()
  const found = new Set<string>()
  const sources = join(root, 'src')

  const isOptions = (type: ts.Type): boolean => {
    if (type.isUnion()) return type.types.some(isOptions)
    if (checker.isArrayType(type) || checker.isTupleType(type) || type.isClass()) return false
    if (!type.isIntersection() && (type.flags & ts.TypeFlags.Object) === 0) return false
    if (type.getCallSignatures().length > 0 || type.getStringIndexType() !== undefined) return false
    if (things.has((type.aliasSymbol ?? type.symbol)?.name)) return false
    const members = type.getProperties()
    const isOurs = (member: ts.Symbol): boolean =>
      member.declarations?.every((at) => at.getSourceFile().fileName.startsWith(sources)) ?? true
    return members.length > 0 && members.every(isOurs)
  }
  /** The types of a rest parameter's settings: the shortest form of a layer's, without its name. */
  const settingsOf = (type: ts.Type): readonly ts.Type[] => {
    const forms = (type.isUnion() ? type.types : [type]).filter((form) => checker.isTupleType(form))
    const lists = forms.map((form) => checker.getTypeArguments(form as ts.TypeReference))
    return lists.sort((a, b) => a.length - b.length)[0] ?? []
  }
  const look = (name: string, signature: ts.Signature): void => {
    if (isInternal(name)) return
    signature.getParameters().forEach((parameter, at) => {
      const type = checker.getNonNullableType(checker.getTypeOfSymbol(parameter))
      const isRest =
        parameter.valueDeclaration !== undefined &&
        ts.isParameter(parameter.valueDeclaration) &&
        parameter.valueDeclaration.dotDotDotToken
      const types = isRest ? settingsOf(type) : [type]
      types.forEach((one, i) => {
        if (isOptions(checker.getNonNullableType(one))) found.add(`${name.replace('new ', '')} ${at + i}`)
      })
    })
  }
  const visit = (name: string, symbol: ts.Symbol): void => {
    const own = (symbol.flags & ts.SymbolFlags.Alias) === 0 ? symbol : checker.getAliasedSymbol(symbol)
    if ((own.flags & ts.SymbolFlags.Module) !== 0) {
      for (const member of checker.getExportsOfModule(own)) visit(`${name}.${member.name}`, member)
      return
    }
    if ((own.flags & ts.SymbolFlags.Value) === 0) return
    const type = checker.getTypeOfSymbol(own)
    for (const signature of type.getCallSignatures()) look(name, signature)
    const methods = (of: ts.Type, mark: string): void => {
      for (const member of of.getProperties()) {
        const call = checker.getTypeOfSymbol(member).getCallSignatures()
        for (const signature of call) look(`${name}${mark}${member.name.replace(/^__#\d+@/, '')}`, signature)
      }
    }
    for (const signature of type.getConstructSignatures()) {
      look(`new ${name}`, signature)
      methods(signature.getReturnType(), '#')
      methods(type, '.')
    }
  }
  for (const entry of entries) {
    const source = program.getSourceFile(entry)
    const module = source && checker.getSymbolAtLocation(source)
    if (module === undefined) throw new RangeError(`${entry} exports nothing`)
    const space = /src\/(\w+)\/index/.exec(entry)?.[1]
    for (const member of checker.getExportsOfModule(module))
      visit(space === undefined ? member.name : `${space}.${member.name}`, member)
  }
  return [...found].filter((name) => !records.has(name)).sort()
}

describe('options', () => {
  it('of every public function are in the table', () => {
    const known = Object.keys(table).filter((name) => !name.includes('browser'))
    expect(publicOptions().filter((x) => !known.includes(x))).toEqual([])
    expect(publicOptions()).toEqual(known.sort())
  })

  const rows = Object.entries(table)
  async function refusal(row: Row, given: unknown): Promise<unknown> {
    const set = data.residentImages(device(), {
      ...{ images: new Uint8Array(3 * 1024), labels: [0, 1, 2], height: 32, width: 32, channels: 1, classes: 10 },
    })
    const model = nn.lenet5({ units: [8, 4] })
    const x = tensor([
      [1, 2],
      [3, 4],
    ])
    const images = tensor(new Float32Array(16), [1, 4, 4, 1])
    try {
      return await failure(() => row.call(given, { device: device(), model, set, x, images }))
    } finally {
      set.dispose()
      model.dispose()
    }
  }

  it.each(rows)('%s refuses an unknown name, and suggests the nearest', async (_, row) => {
    const { base = {}, wrong } = row
    const [name] = wrong
    const misspelt = `${name}s`
    const error = await refusal(row, { ...base, [misspelt]: 1 })
    expect(error).toBeInstanceOf(WeftgradError)
    expect(error).toMatchObject({
      code: 'argument',
      message: expect.stringContaining(`has no option ${misspelt}; did you mean`),
    })
    expect(error).toMatchObject({ message: expect.stringMatching(new RegExp(`did you mean .*\\b${name}\\b`)) })
  })

  it.each(rows)('%s refuses a value of another type', async (_, row) => {
    const { base = {}, wrong } = row
    const [name, value] = wrong
    const error = await refusal(row, { ...base, [name]: value })
    expect(error).toBeInstanceOf(WeftgradError)
    expect(error).toMatchObject({
      code: 'argument',
      message: expect.stringMatching(new RegExp(`${name} must be .*, not `)),
    })
  })

  it.each(rows)('%s refuses values that are not objects', async (_, row) => {
    for (const given of [7, null, [row.base ?? {}], ...(row.takesName === true ? [] : ['fast'])])
      expect(await refusal(row, given)).toMatchObject({
        code: 'argument',
        message: expect.stringContaining('must be an object'),
      })
  })
})
