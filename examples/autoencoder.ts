/**
 * Squeezes Fashion-MNIST's images through 32 numbers and restores them: a convolutional autoencoder. Writes autoencoder.png,
 * originals above reconstructions. Run it: `node --import ./scripts/tsx.mjs examples/autoencoder.ts`
 */
import { writeFile } from 'node:fs/promises'
import { data, loadFashionMnist, nn, open } from 'weftgrad/node'

const epochs = Number(process.env.EPOCHS ?? 3)
const file = process.argv[2] ?? 'autoencoder.png'
await open()
const { train, test } = await loadFashionMnist()
const shape = [28, 28, 1]
const scaled = (bytes: Uint8Array) => Float32Array.from(bytes, (byte) => byte / 255)
const [x, xTest] = [scaled(train.images), scaled(test.images)]
const images = data.arrays({ x, shape, y: x }) // the target is the image itself
const testImages = data.arrays({ x: xTest, shape, y: xTest })

const model = nn.sequential('autoencoder', shape, [
  nn.conv2d(16, 3, { strides: 2, padding: 'same', activation: 'relu' }),
  nn.conv2d(32, 3, { strides: 2, padding: 'same', activation: 'relu' }),
  nn.flatten(),
  nn.dense('code', 32),
  nn.dense(7 * 7 * 32, { activation: 'relu' }),
  nn.reshape([7, 7, 32]),
  nn.conv2dTranspose(32, 3, { strides: 2, padding: 'same', activation: 'relu' }),
  nn.conv2dTranspose(16, 3, { strides: 2, padding: 'same', activation: 'relu' }),
  nn.conv2d(1, 3, { padding: 'same', activation: 'sigmoid' }),
])
const loss = nn.meanSquaredError()
await nn.fit(model, images, {
  loss,
  optimizer: nn.adam(),
  epochs,
  batchSize: 128,
  callbacks: { onEpochEnd: console.log },
})
const scores = await nn.evaluate(model, testImages, { loss })
console.log(`test mean squared error ${scores.loss.toFixed(4)}`)

const count = 10
const originals = xTest.subarray(0, count * 784)
const restored = await nn.predict(model, originals)
const picture = new Uint8Array(2 * count * 784) // [2, row, count, column]
for (const [half, pixels] of [originals, restored].entries())
  pixels.forEach((pixel, i) => {
    const [image, row, column] = [Math.floor(i / 784), Math.floor(i / 28) % 28, i % 28]
    picture[((half * 28 + row) * count + image) * 28 + column] = Math.round(255 * pixel)
  })
await writeFile(file, data.encodePng({ width: 28 * count, height: 56, channels: 1, data: picture }))
