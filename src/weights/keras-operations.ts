/** Operations on tensors among Keras' layers, `x + 1`: Keras 3's own and TensorFlow's under Keras 2. */

import type { Call } from './keras-graph.ts'
import type { Json } from './keras-settings.ts'

/** Operations of two tensors, which are layers too. */
const merging: ReadonlySet<string> = new Set(['Add', 'Subtract', 'Multiply', 'Maximum', 'Minimum'])

/** Functions of one tensor: Keras 3's class names and what TensorFlow calls them. */
const activations: Readonly<Record<string, string>> = {
  ...{ Relu: 'relu', Relu6: 'relu6', Sigmoid: 'sigmoid', Tanh: 'tanh', Silu: 'silu', HardSigmoid: 'hard_sigmoid' },
  ...{ HardSilu: 'hard_silu', Softplus: 'softplus', Selu: 'selu', Mish: 'mish' },
}

const ofTensorFlow: Readonly<Record<string, string>> = {
  ...{ '__operators__.add': 'Add', 'math.add': 'Add', 'math.subtract': 'Subtract', 'math.multiply': 'Multiply' },
  ...{ 'math.truediv': 'TrueDivide', 'math.divide': 'TrueDivide', '__operators__.truediv': 'TrueDivide' },
  ...{ 'math.maximum': 'Maximum', 'math.minimum': 'Minimum', 'nn.relu': 'Relu', 'nn.relu6': 'Relu6' },
  ...{ 'math.sigmoid': 'Sigmoid', 'math.tanh': 'Tanh', 'nn.silu': 'Silu', 'nn.swish': 'Silu' },
}

interface Operation {
  readonly className: string
  readonly config: Json
}

/** The layer that does what an operation does; undefined for layers. An unknown one keeps its name, so that it is reported. */
export function operation(layer: Json, call: Call | undefined): Operation | undefined {
  const { class_name: className, module, config } = layer
  if (typeof className !== 'string') return undefined
  const { function: named, ...settings } = config as Json
  if (className === 'TFOpLambda' || className === 'SlicingOpLambda') {
    const text = String(named).slice(0, 80)
    const kind = Object.hasOwn(ofTensorFlow, text) ? ofTensorFlow[text] : undefined
    return (kind === undefined ? undefined : asLayer(kind, call)) ?? { className: `tf.${text}`, config: {} }
  }
  // HDF5 files do not say the module. No layer takes numbers, or has one of these names.
  const isOperation =
    typeof module === 'string'
      ? /\.ops(\.|$)/.test(module)
      : (call?.numbers ?? []).length > 0 || Object.hasOwn(activations, className)
  if (!isOperation) return undefined
  const isPlain = Object.keys(settings).every((key) => ['name', 'dtype', 'trainable'].includes(key))
  return (isPlain ? asLayer(className, call) : undefined) ?? { className: `ops.${className}`, config: settings }
}

function asLayer(kind: string, call: Call | undefined): Operation | undefined {
  const [number, ...more] = call?.numbers ?? []
  if (more.length > 0) return undefined
  if (number === undefined) {
    if (Object.hasOwn(activations, kind)) return { className: 'Activation', config: { activation: activations[kind] } }
    return merging.has(kind) ? { className: kind, config: {} } : undefined
  }
  const { at, value } = number
  const scaled = (scale: number, offset: number) => ({ className: 'Rescaling', config: { scale, offset } })
  if (kind === 'Add') return scaled(1, value)
  if (kind === 'Multiply') return scaled(value, 0)
  if (kind === 'Subtract') return at === 0 ? scaled(-1, value) : scaled(1, -value)
  if (kind === 'TrueDivide' && at === 1) return scaled(1 / value, 0)
  return undefined
}
