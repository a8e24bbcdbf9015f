/**
 * Classifies pictures of its own by transfer: VGG16's features, computed once, and a small network trained on them.
 * Run it: `node --import ./scripts/tsx.mjs examples/transfer.ts FOLDER [WEIGHTS]`
 */
import { data, mul, nn, open, weights } from 'weftgrad/node'

const [, , folder, given] = process.argv
if (folder === undefined) throw new Error('usage: transfer.ts FOLDER [WEIGHTS]')
const epochs = Number(process.env.EPOCHS ?? 50)
const size = 64

const device = await open()
const base = nn.freeze(nn.vgg16({ size, pooling: 'avg' }))
const { path } = await weights.find('vgg16', { weights: given }) // Keras' weights, downloaded if missing
await weights.loadWeights(base, device, await weights.open(path))

/** The features of a set's pictures, with their classes. */
async function features(set: data.ImageDataset) {
  const pictures = mul(data.examples(set).x, 255)
  const x = await nn.predict(base, nn.preprocessInput(pictures, 'caffe'))
  return data.arrays({ x, shape: base.outputShape, y: set.labelsOf(), classes: set.classes })
}
const sets = await data.imageFolder(folder, { size, channels: 3, split: 0.2, seed: 1 })
const [train, validation] = [await features(sets.train), await features(sets.validation)]

const head = nn.sequential('head', train.shape, [nn.dropout(0.3), nn.dense(sets.train.classes)])
await nn.fit(head, train, { validation, optimizer: nn.adam(), epochs, batchSize: 32, earlyStopping: { patience: 5 } })
const { accuracy } = await nn.evaluate(head, validation)
console.log(`validation accuracy ${(100 * accuracy).toFixed(1)} %`)
