/**
 * Trains a small network on a folder of pictures, with a folder for each class, and classifies some of them.
 * Run it: `node --import ./scripts/tsx.mjs examples/picture-folder.ts FOLDER`
 */
import { data, nn, open } from 'weftgrad/node'

const [, , folder] = process.argv
if (folder === undefined) throw new Error('usage: picture-folder.ts FOLDER')
const epochs = Number(process.env.EPOCHS ?? 20)

await open()
const { train, validation } = await data.imageFolder(folder, { size: 64, channels: 3, split: 0.2, seed: 1 })
const model = nn.sequential(
  'pictures',
  [64, 64, 3],
  [
    nn.conv2d(16, 3, { activation: 'relu' }),
    nn.maxPooling2d(),
    nn.conv2d(32, 3, { activation: 'relu' }),
    nn.maxPooling2d(),
    nn.conv2d(64, 3, { activation: 'relu' }),
    nn.globalAveragePooling2d(),
    nn.dropout(0.3),
    nn.dense(train.classes, { activation: 'softmax' }),
  ],
)
await nn.fit(model, train, {
  ...{ validation, optimizer: nn.adam(), epochs, batchSize: 32, restoreBest: true },
  augmentation: { flip: 'random', shift: 4 },
})

const { accuracy, predictions } = await nn.evaluate(model, validation)
console.log(`validation accuracy ${(100 * accuracy).toFixed(1)} %`)
validation.names?.slice(0, 5).forEach((name, i) => {
  console.log(`${name}: ${validation.classNames?.[predictions[i] ?? 0]}`)
})
