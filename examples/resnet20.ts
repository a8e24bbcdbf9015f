/**
 * Trains ResNet-20, He et al.'s network for CIFAR-10 (2015, section 4.2), on pictures of coloured shapes, or on those of a folder
 * with a folder for each class. Run it: `node --import ./scripts/tsx.mjs examples/resnet20.ts [FOLDER]`
 */
import { data, nn, open } from 'weftgrad/node'
import { shapeNames, shapePictures } from './data/shapes.ts'

const epochs = Number(process.env.EPOCHS ?? 4)
const count = Number(process.env.COUNT ?? 3000)
const device = await open()

function shapes(howMany: number, seed: number) {
  const own = { height: 32, width: 32, channels: 3, classes: shapeNames.length, classNames: shapeNames }
  const { images, labels } = shapePictures(howMany, 32, seed)
  return data.residentImages(device, { images, labels, ...own })
}
const [, , folder] = process.argv
const { train, validation } =
  folder === undefined
    ? { train: shapes(count, 1), validation: shapes(Math.ceil(count / 4), 2) }
    : await data.imageFolder(folder, { size: 32, channels: 3, split: 0.2 })

/** Two convolutions and a shortcut around them; where the size halves, the shortcut is a convolution of one pixel. */
function block(net: nn.Wiring, from: nn.Place, filters: number, strides: number): nn.Place {
  const convolution = (size: number, step: number) =>
    nn.conv2d(filters, size, { strides: step, padding: 'same', useBias: false, kernelInitializer: nn.heNormal })
  const inner = net.chain(from, convolution(3, strides), nn.batchNormalization(), nn.activation('relu'))
  const outer = net.chain(inner, convolution(3, 1), nn.batchNormalization())
  const shortcut = strides === 1 ? from : net.chain(from, convolution(1, strides), nn.batchNormalization())
  return net.chain(net.merge(nn.add(), outer, shortcut), nn.activation('relu'))
}

const net = new nn.Wiring()
const first = nn.conv2d(16, 3, { padding: 'same', useBias: false, kernelInitializer: nn.heNormal })
let place = net.chain(net.input, first, nn.batchNormalization(), nn.activation('relu'))
for (const filters of [16, 32, 64])
  for (let i = 0; i < 3; i++) place = block(net, place, filters, i === 0 && filters > 16 ? 2 : 1)
net.chain(place, nn.globalAveragePooling2d(), nn.dense(train.classes, { activation: 'softmax' }))
const model = net.model('resnet20', [32, 32, 3])
console.log(`${model.parameterCount} parameters, ${train.count} pictures in ${train.classes} classes`)

await nn.fit(model, train, {
  ...{ epochs, batchSize: 64, validation, augmentation: { shift: 2 } },
  optimizer: nn.adamw({ learningRate: nn.cosineRate(3e-3, { warmupSteps: 20 }), weightDecay: 1e-2 }),
  callbacks: {
    onEpochEnd: ({ epoch, loss, validationAccuracy = 0 }) =>
      console.log(`epoch ${epoch}: loss ${loss.toFixed(3)}, validation ${(100 * validationAccuracy).toFixed(1)} %`),
  },
})
const { accuracy } = await nn.evaluate(model, validation)
console.log(`accuracy ${(100 * accuracy).toFixed(1)} % on ${validation.count} pictures that it was not trained on`)
