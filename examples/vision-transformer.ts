/**
 * Trains a small vision transformer (Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021) on Fashion-MNIST, whose patches
 * come from convolutions (Xiao et al., "Early Convolutions Help Transformers See Better", 2021).
 * Run it: `node --import ./scripts/tsx.mjs examples/vision-transformer.ts`
 */
import { add, data, gelu, nn, open } from 'weftgrad/node'

const epochs = Number(process.env.EPOCHS ?? 8)
const [side, width, heads, depth] = [4, 64, 4, 2] // 4x4 patches: each convolution halves 28 pixels

/** Adds a trained vector to each position, so that attention knows where a patch is. */
const positionEmbedding: nn.Layer = {
  name: 'position_embedding',
  className: 'PositionEmbedding',
  config: {}, // a file of the model can describe it
  outputShape: ([shape = []]) => shape,
  weights: ([shape = []]) => [{ name: 'positions', shape, initializer: nn.glorotUniform, trainable: true }],
  call([x], [positions]) {
    if (x === undefined || positions === undefined) throw new Error('a model gives the layer its input and weight')
    return add(x, positions)
  },
}

/** Attention between positions, then two dense layers for each: both see normalised numbers and add to what was there. */
function block(net: nn.Wiring, from: nn.Place): nn.Place {
  const attention = net.chain(
    from,
    nn.layerNormalization({ epsilon: 1e-6 }),
    nn.multiHeadAttention(heads, width / heads),
  )
  const middle = net.merge(nn.add(), from, attention)
  const dense = [nn.dense(2 * width), nn.activation(gelu), nn.dense(width)]
  return net.merge(nn.add(), middle, net.chain(middle, nn.layerNormalization({ epsilon: 1e-6 }), ...dense))
}

const net = new nn.Wiring()
const halving = { strides: 2, padding: 'same' } as const
const stem = [16, 32].map((filters) => nn.conv2d(filters, 3, { ...halving, activation: 'relu' }))
const patches = [...stem, nn.conv2d(width, 3, halving), nn.reshape([side * side, width])]
let place = net.chain(net.input, ...patches, positionEmbedding)
for (let i = 0; i < depth; i++) place = block(net, place)
const end = [nn.layerNormalization({ epsilon: 1e-6 }), nn.reshape([side, side, width]), nn.globalAveragePooling2d()]
net.chain(place, ...end, nn.dense('logits', 10))
const model = net.model('vision-transformer', [28, 28, 1])
console.log(`${model.parameterCount} parameters`)

const device = await open()
const { train, test } = await data.fashionMnist(device)
await nn.fit(model, train, {
  ...{ epochs, batchSize: 128, validationSplit: 0.1, augmentation: { flip: 'random' } },
  optimizer: nn.adamw({ learningRate: nn.cosineRate(2e-3, { warmupSteps: 200 }), weightDecay: 1e-2 }),
  callbacks: {
    onEpochEnd: ({ epoch, loss, validationAccuracy = 0, seconds }) =>
      console.log(
        `epoch ${epoch}: loss ${loss.toFixed(3)}, validation ${(100 * validationAccuracy).toFixed(1)} %, ${seconds.toFixed(0)} s`,
      ),
  },
})
const { accuracy } = await nn.evaluate(model, test)
console.log(`test accuracy ${(100 * accuracy).toFixed(2)} %`)
