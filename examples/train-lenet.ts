/** Trains LeNet-5 on Fashion-MNIST and tests it. Run it: `npx tsx examples/train-lenet.ts` */

// #region readme
import { data, loadFashionMnist, nn, open } from '../src/node.ts'

using device = await open()
const { train, test } = await loadFashionMnist() // found or fetched
using trainSet = data.residentImages(device, { ...train, channels: 1, classes: 10 }) // on the device once, as bytes
using testSet = data.residentImages(device, { ...test, channels: 1, classes: 10 })
using model = nn.lenet5({ units: [256, 32] }, { seed: 1 })
console.log(model.summary())

await nn.fit(model, trainSet, {
  optimizer: nn.adam({ learningRate: 1e-3 }),
  epochs: 15,
  batchSize: 32,
  validationSplit: 0.1,
  restoreBest: true,
  callbacks: { onEpochEnd: (logs) => console.log(logs) },
})
const { loss, accuracy } = await nn.evaluate(model, testSet)
console.log(`test: loss ${loss.toFixed(4)}, accuracy ${(100 * accuracy).toFixed(2)} %`)
// #endregion readme
