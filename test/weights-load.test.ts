/** Weight files, in memory, matched with networks. */
import { describe, expect, it } from 'vitest'
import { add, batchNormalization, conv2d, dense, flatten, normalization } from '../src/nn/layers.ts'
import { type Model, sequential } from '../src/nn/model.ts'
import { Wiring } from '../src/nn/wiring.ts'
import { hashedNumbers } from '../src/weights/hashed.ts'
import { assignWeights, loadWeights } from '../src/weights/load.ts'
import { weightRoles } from '../src/weights/names.ts'
import { guessAt } from '../src/weights/recognize.ts'
import { useDevice } from './support/device.ts'
import { type GivenLayer, memoryWeightFile, smallModel } from './support/weight-files.ts'

const device = useDevice()

const denses = (...names: string[]): Model =>
  sequential(
    'denses',
    [4],
    names.map((name) => dense(name, 4)),
  )

const old: readonly GivenLayer[] = [
  ['convolution2d_7', { 'convolution2d_7_W:0': [3, 3, 3, 4], 'convolution2d_7_b:0': [4] }],
  ['batchnormalization_9', { 'n_gamma:0': [4], 'n_beta:0': [4], 'n_running_mean:0': [4], 'n_running_std:0': [4] }],
  ['convolution2d_1', { 'convolution2d_1_W:0': [3, 3, 4, 4] }],
]
const head: GivenLayer = ['predictions', { 'predictions_W:0': [4, 2], 'predictions_b:0': [2] }]

/** The name of the file's tensor for each of the model's weights. */
function assigned(model: Model, ...file: Parameters<typeof memoryWeightFile>): Record<string, string> {
  const { entries } = assignWeights(model, memoryWeightFile(...file))
  return Object.fromEntries([...entries].map(([weight, entry]) => [weight.name, entry.name]))
}

describe('matching a file with a network', () => {
  it('uses order and shape in HDF5 files, whatever the names', () => {
    expect(assigned(smallModel(), 'keras-h5', old)).toEqual({
      'conv/kernel': 'convolution2d_7_W:0',
      'conv/bias': 'convolution2d_7_b:0',
      'norm/gamma': 'n_gamma:0',
      'norm/beta': 'n_beta:0',
      'norm/moving_mean': 'n_running_mean:0',
      'norm/moving_variance': 'n_running_std:0',
      'last/kernel': 'convolution2d_1_W:0',
    })
  })

  it('uses names in every format if all are present', () => {
    const swapped: readonly GivenLayer[] = [
      ['b', { 'b/kernel:0': [4, 4], 'b/bias:0': [4] }],
      ['a', { 'a/kernel:0': [4, 4], 'a/bias:0': [4] }],
    ]
    for (const format of [
      'keras-h5',
      'keras-3-h5',
      'keras-archive',
      'tfjs-layers',
      'tfjs-graph',
      'safetensors',
    ] as const)
      expect(assigned(denses('a', 'b'), format, swapped), format).toMatchObject({ 'a/kernel': 'a/kernel:0' })
  })

  it('accepts names preceded by a path, with any separator', () => {
    for (const before of ['net/', 'net.', 'net\\', 'one/two.']) {
      const layers = ['b', 'a'].map(
        (name): GivenLayer => [`${before}${name}`, { [`${name}.kernel`]: [4, 4], [`${name}.bias`]: [4] }],
      )
      expect(assigned(denses('a', 'b'), 'safetensors', layers), before).toMatchObject({ 'b/bias': 'b.bias' })
    }
    // The model that each belongs to is found by its own name; `d` alone would match two.
    const nested = ['p/d', 'q/d'].map(
      (name): GivenLayer => [`x/${name}`, { [`${name}/kernel`]: [4, 4], [`${name}/bias`]: [4] }],
    )
    expect(assigned(denses('q/d', 'p/d'), 'safetensors', nested)).toMatchObject({ 'q/d/kernel': 'q/d/kernel' })
    expect(() => assigned(denses('d', 'e'), 'safetensors', nested)).toThrow(/does not show which/)
  })

  it('uses names that authors chose, and shapes and order for names that Keras generated', () => {
    const file = (...names: string[]): readonly GivenLayer[] =>
      names.map((name) => [name, { [`${name}/kernel`]: [4, 4], [`${name}/bias`]: [4] }])
    expect(
      assigned(denses('first', 'dense', 'dense_1'), 'keras-h5', file('dense_7', 'first', 'dense_8')),
    ).toMatchObject({
      'first/kernel': 'first/kernel',
      'dense/kernel': 'dense_7/kernel',
      'dense_1/kernel': 'dense_8/kernel',
    })
    // By chance the same names for other layers: only the order can decide.
    expect(assigned(denses('dense', 'dense_1'), 'keras-h5', file('dense_1', 'dense_2'))).toMatchObject({
      'dense_1/kernel': 'dense_2/kernel',
    })
    expect(assigned(denses('d1', 'd2', 'd3'), 'keras-h5', file('d0', 'd1', 'd2'))).toMatchObject({
      'd1/kernel': 'd0/kernel',
    })
    expect(() => assigned(denses('d1', 'd2', 'd3'), 'safetensors', file('d0', 'd1', 'd2'))).toThrow(
      'does not show which of its layers d0, d1, d2 are d1, d2, d3 of denses: all have [4, 4], [4], names differ, and the file does not keep their order',
    )
  })

  it('uses order only for layers in a sequence', () => {
    const file = ['x', 'y', 'z'].map(
      (name): GivenLayer => [name, { [`${name}/kernel`]: [4, 4], [`${name}/bias`]: [4] }],
    )
    const net = new Wiring()
    const left = net.chain(net.input, dense('a', 4))
    net.merge(add('sum'), left, net.chain(net.input, dense('b', 4), dense('c', 4)))
    const branched = net.model('branched', [4])
    expect(() => assigned(branched, 'keras-h5', file)).toThrow(/parallel layers have no order/)
    // If its graph has no other layers, Keras lists the layer farthest from the output first.
    const listed = assignWeights(branched, { ...memoryWeightFile('keras-h5', file), layerCount: 1 + 3 })
    expect(() => assignWeights(branched, { ...memoryWeightFile('keras-h5', file), layerCount: 5 })).toThrow(
      /parallel layers/,
    )
    expect([...listed.entries].map(([weight, entry]) => `${weight.name} ${entry.name}`)).toEqual([
      ...[
        'a/kernel y/kernel',
        'a/bias y/bias',
        'b/kernel x/kernel',
        'b/bias x/bias',
        'c/kernel z/kernel',
        'c/bias z/bias',
      ],
    ])
  })

  it('identifies the weights of a layer by name, never by their position in a safetensors file', () => {
    const norm = (): Model => sequential('norm', [4], [batchNormalization('norm')])
    const sorted = ['beta', 'gamma', 'moving_mean', 'moving_variance']
    const file = (names: readonly string[]): readonly GivenLayer[] => [
      ['norm', Object.fromEntries(names.map((name) => [name, [4]]))],
    ]
    for (const separator of ['/', '.', '\\']) {
      const names = sorted.map((name) => `norm${separator}${name}`)
      expect(Object.values(assigned(norm(), 'safetensors', file(names)))).toEqual([1, 0, 2, 3].map((i) => names[i]))
    }
    expect(() => assigned(norm(), 'safetensors', file(['p', 'q', 'r', 's']))).toThrow(
      'its names (p, q, r, s) do not identify them',
    )
    // PyTorch's square weight has its axes in the other order.
    const torch: readonly GivenLayer[] = [['a', { 'a.bias': [4], 'a.weight': [4, 4] }]]
    expect(() => assigned(denses('a'), 'safetensors', torch)).toThrow(/PyTorch/)
  })

  it('leaves out counters, random states and tensors of other dtypes', () => {
    const layers: readonly GivenLayer[] = [
      ['scale', { mean: [4], variance: [4], count: [] }],
      ['drop', { seed: [2] }],
      ['a', { kernel: [4, 4], bias: [4] }],
      ['other', { x: [4] }],
    ]
    const held = memoryWeightFile('keras-h5', layers)
    const dtypes: Readonly<Record<string, string>> = { count: 'int64', seed: 'uint32', x: 'F8_E4M3' }
    const groups = held.groups.map((group) => ({
      ...group,
      weights: group.weights.map((entry) => ({ ...entry, dtype: dtypes[entry.name] ?? entry.dtype })),
    }))
    const scaled = sequential('scaled', [4], [normalization('scale'), dense('a', 4)])
    expect(assignWeights(scaled, { ...held, groups }).entries.size).toBe(4)
  })

  it('uses names if all are present, in any order of layers and tensors', () => {
    const sorted: readonly GivenLayer[] = [
      ['conv', { 'conv/bias': [4], 'conv/kernel': [3, 3, 3, 4] }],
      ['last', { 'last/kernel': [3, 3, 4, 4] }],
      ['norm', { 'norm/beta': [4], 'norm/gamma': [4], 'norm/moving_mean': [4], 'norm/moving_variance': [4] }],
    ]
    const names = assigned(smallModel(), 'safetensors', sorted)
    expect(Object.keys(names)).toHaveLength(7)
    for (const [own, name] of Object.entries(names)) expect(name).toBe(own)
  })

  it('uses order if a name is missing', () => {
    const layers: readonly GivenLayer[] = [
      ['conv', { 'conv/kernel': [3, 3, 3, 4], 'conv/bias': [4] }],
      ['bn', { 'bn/gamma': [4], 'bn/beta': [4], 'bn/moving_mean': [4], 'bn/moving_variance': [4] }],
      ['last', { 'last/kernel': [3, 3, 4, 4] }],
    ]
    expect(assigned(smallModel(), 'safetensors', layers)).toMatchObject({ 'norm/moving_mean': 'bn/moving_mean' })
  })

  it("uses class and number in Keras 3's weight files, which have no order across classes", () => {
    const layers: readonly GivenLayer[] = [
      ['batch_normalization', { '0': [4], '1': [4], '2': [4], '3': [4] }, 'BatchNormalization'],
      ['conv2d', { '0': [3, 3, 3, 4], '1': [4] }, 'Conv2D'],
      ['conv2d_1', { '0': [3, 3, 4, 4] }, 'Conv2D'],
    ]
    expect(assigned(smallModel(), 'keras-3-h5', layers)).toMatchObject({ 'conv/bias': '1', 'norm/beta': '1' })
    const untold = layers.map(([name, weights]): GivenLayer => [name, weights])
    expect(assigned(smallModel(), 'keras-3-h5', untold)).toMatchObject({ 'conv/bias': '1', 'norm/beta': '1' })
  })

  it('leaves out the top for a network without dense layers, and reports it', () => {
    expect(assignWeights(smallModel(), memoryWeightFile('keras-h5', [...old, head])).ignored).toEqual(['predictions'])
    expect(assignWeights(smallModel(true), memoryWeightFile('keras-h5', [...old, head])).ignored).toEqual([])
  })
})

describe('a file that does not fit is refused with', () => {
  const refusal = (model: Model, ...file: Parameters<typeof memoryWeightFile>): unknown => {
    try {
      assignWeights(model, memoryWeightFile(...file))
      return 'accepted'
    } catch (error) {
      return error
    }
  }
  const [conv, norm, last] = old as [GivenLayer, GivenLayer, GivenLayer]

  it('the first layer that differs, both shapes, and a guess', () => {
    const other: GivenLayer = ['other', { w: [3, 3, 4, 8] }]
    expect(refusal(smallModel(), 'keras-h5', [conv, norm, other])).toMatchObject({
      code: 'mismatch',
      message:
        "memory does not fit small: last (Conv2D) takes [3, 3, 4, 4]; 'other' has [3, 3, 4, 8]. " +
        'It has 3 layers with weights and 416 parameters, which matches no network known to weftgrad.',
      details: { layer: 'last', expected: [[3, 3, 4, 4]], group: 'other', found: [[3, 3, 4, 8]] },
    })
    expect(refusal(smallModel(), 'keras-h5', [conv, last])).toMatchObject({
      message: expect.stringContaining("norm (BatchNormalization) takes [4], [4], [4], [4]; 'convolution2d_1' has"),
    })
  })

  it('the first layer that is missing, and the first extra one', () => {
    expect(refusal(smallModel(true), 'keras-h5', old)).toMatchObject({
      code: 'mismatch',
      message: expect.stringContaining('logits (Dense) takes [4, 2], [2]; the file has no other layer for it'),
    })
    expect(refusal(smallModel(), 'keras-h5', [...old, last])).toMatchObject({
      message: expect.stringContaining(
        "has 4 layers with weights, small has 3, and none for 'convolution2d_1', [3, 3, 4, 4]",
      ),
    })
    // A network with dense layers is not a base: the layers after them belong to another network.
    expect(refusal(smallModel(true), 'keras-h5', [...old, head, head])).toMatchObject({ code: 'mismatch' })
  })

  it('the reason that graph models have no normalisations', () => {
    const folded: readonly GivenLayer[] = [['conv', { a: [3, 3, 3, 4], b: [4] }]]
    expect(refusal(smallModel(), 'tfjs-graph', folded)).toMatchObject({
      code: 'mismatch',
      message: expect.stringMatching(/fold batch normalisation into convolutions.*norm/),
    })
    const plain = sequential('plain', [8, 8, 3], [conv2d('first', 4, 3), flatten('flatten')])
    expect(assigned(plain, 'tfjs-graph', folded)).toEqual({ 'first/kernel': 'a', 'first/bias': 'b' })
  })
})

describe('loading', () => {
  it('puts the numbers of the file into the weights', async () => {
    using model = smallModel()
    const told: number[] = []
    const { ignored } = await loadWeights(model, device(), memoryWeightFile('keras-h5', [...old, head]), {
      onProgress: ({ bytes }) => told.push(bytes),
    })
    expect(ignored).toEqual(['predictions'])
    expect(told).toHaveLength(7)
    const numbers = await model.weightNumbers()
    expect(numbers.get('norm/moving_variance')?.data).toEqual(hashedNumbers('batchnormalization_9/n_running_std:0', 4))
    expect(numbers.get('last/kernel')?.data).toEqual(hashedNumbers('convolution2d_1/convolution2d_1_W:0', 144))
  })

  it('allocates nothing and changes nothing if the file does not fit', async () => {
    using model = smallModel()
    model.to(device())
    const before = await model.weightNumbers()
    const { liveBytes } = device().memory()
    let reads = 0
    const file = memoryWeightFile('keras-h5', old.slice(1))
    const read: typeof file.read = (entry) => {
      reads += 1
      return file.read(entry)
    }
    await expect(loadWeights(model, device(), { ...file, read })).rejects.toMatchObject({ code: 'mismatch' })
    expect(reads).toBe(0)
    expect(device().memory().liveBytes).toBe(liveBytes)
    expect(await model.weightNumbers()).toEqual(before)
  })

  it('refuses numbers that are not finite, and changes nothing', async () => {
    using model = smallModel()
    const before = await model.weightNumbers()
    const file = memoryWeightFile('keras-h5', old)
    const read: typeof file.read = async (entry) => {
      const data = await file.read(entry)
      if (entry.name === 'n_beta:0') data[2] = Number.NaN
      return data
    }
    await expect(loadWeights(model, device(), { ...file, read })).rejects.toMatchObject({
      code: 'data',
      message: expect.stringContaining('norm/beta'),
    })
    expect(await model.weightNumbers()).toEqual(before)
  })
})

describe('guessing what a file is', () => {
  const groupsOf = (...layers: readonly GivenLayer[]) => memoryWeightFile('keras-h5', layers).groups

  it('identifies networks by the parameters below their dense layers', () => {
    const vgg: GivenLayer = ['all', { w: [14_714_688] }]
    expect(guessAt(groupsOf(vgg))).toBe('It looks like the weights of VGG16 without its top.')
    const top: readonly GivenLayer[] = [
      ['fc1', { w: [25_088, 4096], b: [4096] }],
      ['fc2', { w: [4096, 4096], b: [4096] }],
      ['predictions', { w: [4096, 1000], b: [1000] }],
    ]
    expect(guessAt(groupsOf(vgg, ...top))).toBe('It looks like the weights of VGG16 with its top.')
    expect(guessAt(groupsOf(vgg, head))).toBe('It looks like the weights of VGG16 with a top.')
    expect(guessAt(groupsOf(['all', { w: [23_564_800] }]))).toContain('ResNet50V2 without')
  })

  it('identifies a LeNet-5 by its kernels', () => {
    const lenet = groupsOf(['a', { b: [6], w: [5, 5, 1, 6] }], ['b', { w: [5, 5, 6, 16] }], ['c', { w: [400, 10] }])
    expect(guessAt(lenet)).toBe('It looks like the weights of a LeNet-5.')
  })
})

describe("the names of a layer's weights", () => {
  const rolesOf = (weights: Readonly<Record<string, readonly number[]>>) =>
    weightRoles({
      name: 'layer',
      weights: Object.entries(weights).map(([name, shape]) => ({ name, shape, dtype: 'float32' })),
    })
  const separable = ['depthwise_kernel', 'pointwise_kernel', 'bias']
  const normalization = ['gamma', 'beta', 'moving_mean', 'moving_variance']

  it.each([
    [{ 'block1_conv1_W_1:0': [3, 3, 3, 64], 'block1_conv1_b_1:0': [64] }, ['kernel', 'bias']],
    [{ 'conv/bias': [6], 'conv/kernel': [5, 5, 1, 6] }, ['bias', 'kernel']],
    [{ 'n_gamma:0': [4], 'n_beta:0': [4], 'n_running_mean:0': [4], 'n_running_std:0': [4] }, normalization],
    [{ 'sep_depthwise_kernel:0': [3, 3, 4, 1], 'sep_pointwise_kernel:0': [1, 1, 4, 8] }, separable.slice(0, 2)],
    [{ 'a/Conv2D/ReadVariableOp': [3, 3, 3, 4], 'a/BiasAdd/ReadVariableOp': [4] }, ['kernel', 'bias']],
    [{ 'vars/0': [3, 3, 4, 1], 'vars/1': [1, 1, 4, 8], 'vars/2': [8] }, separable],
    [{ '0': [4], '1': [4], '2': [4], '3': [4] }, normalization],
    [{ '0': [4, 2] }, ['kernel']],
    [{ '0': [4], '1': [4] }, ['0', '1']],
    [{ 'x/kernel': [4, 2], 'y/kernel': [4, 2] }, ['x/kernel', 'y/kernel']],
    [{ scale: [], kernel: [4, 2] }, ['scale', 'kernel']],
  ])('of %j are %j', (weights, roles) => {
    expect(rolesOf(weights)).toEqual(roles)
  })
})
