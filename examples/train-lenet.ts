/** Trains LeNet-5 on Fashion-MNIST and tests it. Run it: `npx tsx examples/train-lenet.ts` */

// #region readme
import { data, nn, open } from 'weftgrad/node'

using device = await open()
const { train, test } = await data.fashionMnist(device) // found or fetched; on the device once, as bytes
using model = nn.lenet5({ units: [256, 32] }, { seed: 1 })
console.log(model.summary())

await nn.fit(model, train, {
  optimizer: nn.adam({ learningRate: 1e-3 }),
  epochs: 15,
  batchSize: 32,
  validationSplit: 0.1,
  restoreBest: true,
  callbacks: { onEpochEnd: (logs) => console.log(logs) },
})
const { loss, accuracy } = await nn.evaluate(model, test)
console.log(`test: loss ${loss.toFixed(4)}, accuracy ${(100 * accuracy).toFixed(2)} %`)
// #endregion readme
