/** Trains LeNet-5 on Fashion-MNIST and tests it. Run it: `node --import ./scripts/tsx.mjs examples/train-lenet.ts` */

// #region readme
import { data, nn, open } from 'weftgrad/node'

const device = await open() // a GPU if there is one, else the CPU
const { train, test } = await data.fashionMnist(device) // downloaded if missing
const model = nn.lenet5({ units: [256, 32] }, { seed: 1 })
await nn.fit(model, train, {
  optimizer: nn.adam({ learningRate: 1e-3 }),
  epochs: 15,
  batchSize: 32,
  validationSplit: 0.1,
  callbacks: { onEpochEnd: (logs) => console.log(logs) },
})
const { loss, accuracy } = await nn.evaluate(model, test)
console.log(`test loss ${loss.toFixed(4)}, accuracy ${(100 * accuracy).toFixed(2)} %`)
// #endregion readme
