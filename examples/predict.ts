/**
 * Classifies test images with a trained model. Run it with the folder of a run:
 *
 *     node --import ./scripts/tsx.mjs examples/predict.ts runs/2025-01-31T12-34-56
 *
 * For image files, use `npx weftgrad predict`.
 */
import { data, loadFashionMnist, loadTrainedModel, nn, open } from 'weftgrad/node'

const [runDir] = process.argv.slice(2)
if (runDir === undefined) throw new Error('usage: predict.ts RUN_FOLDER')

using _device = await open()
const { model, classNames = data.fashionMnistClasses } = await loadTrainedModel(runDir)
const { test } = await loadFashionMnist()

const count = 10
const images = test.images.subarray(0, count * test.height * test.width)
const probabilities = await nn.predict(model, images, [test.height, test.width, 1]) // [10, classes]

for (let i = 0; i < count; i++) {
  const own = probabilities.subarray(i * classNames.length, (i + 1) * classNames.length)
  const best = own.indexOf(Math.max(...own))
  const truth = data.fashionMnistClasses[test.labels[i] ?? 0]
  console.log(`${classNames[best]} (${(100 * (own[best] ?? 0)).toFixed(1)} %), actually: ${truth}`)
}
model.dispose()
