/**
 * A network with two heads: the class of a coloured shape and its size, trained together by two losses in a loop of its own.
 * Run it: `node --import ./scripts/tsx.mjs examples/two-heads.ts`
 */
import { add, mean, mul, nn, open, slice, type Tensor, tensor } from 'weftgrad/node'
import { shapeNames, shapePictures } from './data/shapes.ts'

const steps = Number(process.env.STEPS ?? 500)
const [side, batch, classes] = [32, 64, shapeNames.length]

const net = new nn.Wiring()
const body = [16, 32, 64].flatMap((filters) => [
  nn.conv2d(filters, 3, { padding: 'same', useBias: false }),
  nn.batchNormalization({ momentum: 0.9 }),
  nn.activation('relu'),
  nn.maxPooling2d(),
])
const features = net.chain(net.input, ...body, nn.flatten(), nn.dense(64, { activation: 'relu' }))
const heads = [nn.dense('class', classes), nn.dense('size', 1, { activation: 'sigmoid' })].map((head) =>
  net.chain(features, head),
)
net.merge(nn.concatenate(), ...heads) // a model has one output: the heads side by side
const model = net.model('two-heads', [side, side, 3])

const [crossentropy, squaredError] = [nn.sparseCategoricalCrossentropy(), nn.meanSquaredError()]
type Inputs = Readonly<Record<'x' | 'labels' | 'sizes', Tensor>>
function loss({ x, labels, sizes }: Inputs, training: nn.ModelCall): Tensor {
  const output = model.call(x, training)
  const ofClass = mean(crossentropy.rows(slice(output, [0, 0], [batch, classes]), labels))
  const ofSize = mean(squaredError.rows(slice(output, [0, classes], [batch, 1]), sizes))
  return add(ofClass, mul(ofSize, 5)) // sizes are shares of the side: their squared errors are small
}
await open()
const optimizer = nn.adam({ learningRate: nn.cosineRate(1e-3) })
const step = nn.trainStep(model, loss, optimizer, { steps })

const scaled = (bytes: Uint8Array) => Float32Array.from(bytes, (byte) => byte / 255)
for (let i = 1; i <= steps; i++) {
  const { images, labels, sizes } = shapePictures(batch, side, i) // new pictures for every step
  const x = tensor(scaled(images), [batch, side, side, 3])
  await step.run({ x, labels: tensor(labels, [batch], 'u32'), sizes: tensor(sizes) })
  if (i % 100 === 0) console.log(`step ${i}: loss ${(await step.losses()).at(-1)?.toFixed(3)}`)
}

const test = shapePictures(1000, side, 0)
const outputs = await nn.predict(model, scaled(test.images)) // [1000, classes + 1]
let [correct, error] = [0, 0]
test.labels.forEach((label, i) => {
  const row = outputs.subarray(i * (classes + 1), (i + 1) * (classes + 1))
  const logits = row.subarray(0, classes)
  if (logits.indexOf(Math.max(...logits)) === label) correct++
  error += Math.abs((row[classes] ?? 0) - (test.sizes[i] ?? 0)) / 1000
})
console.log(`class accuracy ${(correct / 10).toFixed(1)} %, mean error of the size ${(error * side).toFixed(2)} pixels`)
