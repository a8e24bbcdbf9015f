/**
 * Saves a trained model with a layer of its own, loads it again, and compares their predictions.
 * Run it: `node --import ./scripts/tsx.mjs examples/save-model.ts [FILE]`
 */
import { data, mul, nn, open, sigmoid } from 'weftgrad/node'

const epochs = Number(process.env.EPOCHS ?? 100)
const file = process.argv[2] ?? 'parabola.safetensors'

/** x sigmoid(beta x), with a beta for each feature that is trained. */
function swish(name: string, { start = 1 } = {}): nn.Layer {
  return {
    ...{ name, className: 'Swish', config: { start } },
    outputShape: ([shape = []]) => shape,
    weights: ([shape = []]) => [
      { name: 'beta', shape, initializer: () => new Float32Array(shape[0] ?? 1).fill(start), trainable: true },
    ],
    call([x = mul(0, 0)], [beta = x]) {
      return mul(x, sigmoid(mul(beta, x)))
    },
  }
}

await open()
const x = Float32Array.from({ length: 200 }, (_, i) => i / 100 - 1)
const y = x.map((number) => number * number)
const model = nn.sequential('parabola', [1], [nn.dense(16), swish('swish', { start: 1.5 }), nn.dense(1)])
const loss = nn.meanSquaredError()
await nn.fit(model, data.arrays({ x, shape: [1], y }), {
  loss,
  optimizer: nn.adam({ learningRate: 1e-2 }),
  epochs,
  batchSize: 20,
})

await nn.saveModel(model, file, { description: { author: 'me' } })
const { model: loaded, description } = await nn.loadModel(file, { customLayers: { Swish: swish } })
const [before, after] = [await nn.predict(model, x), await nn.predict(loaded, x)]
console.log(`by ${description.author}: the same predictions: ${before.every((number, i) => number === after[i])}`)
console.log(`0.5 squared is about ${after[150]?.toFixed(3)}`)
