/** Learns to tell two spirals apart, from arrays of numbers. Run it: `node --import ./scripts/tsx.mjs examples/arrays.ts` */
import { data, nn, open } from 'weftgrad/node'

const epochs = Number(process.env.EPOCHS ?? 200)
const count = 400
const x = new Float32Array(2 * count) // a point each: its two coordinates
const y = new Uint8Array(count) // its spiral: 0 or 1
for (let i = 0; i < count; i++) {
  const turn = (3 * Math.PI * i) / count + 1
  y[i] = i % 2
  x.set([turn * Math.cos(turn + Math.PI * (i % 2)), turn * Math.sin(turn + Math.PI * (i % 2))], 2 * i)
}

await open()
const points = data.arrays({ x, shape: [2], y })
const { rest, held } = data.randomSplit(count, 0.25, 1)
const model = nn.sequential(
  'spirals',
  [2],
  [nn.dense(64, { activation: 'tanh' }), nn.dense(64, { activation: 'tanh' }), nn.dense(2, { activation: 'softmax' })],
)
await nn.fit(model, points.subset(rest), { optimizer: nn.adam({ learningRate: 5e-3 }), epochs, batchSize: 32 })
const { accuracy } = await nn.evaluate(model, points.subset(held))
console.log(`test accuracy ${(100 * accuracy).toFixed(1)} %`)
