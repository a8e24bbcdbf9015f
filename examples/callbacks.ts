/**
 * Learns a rare class from labels of which some are wrong: a rare class weighs more, a doubtful label less. Stops early, lowers the
 * learning rate on a plateau, and logs to a CSV file. Run it: `node --import ./scripts/tsx.mjs examples/callbacks.ts [LOG]`
 */
import { data, nn, open } from 'weftgrad/node'

const epochs = Number(process.env.EPOCHS ?? 100)
const log = process.argv[2] ?? 'training.csv'
const count = 2000
const random = new nn.Random(1, 'points')
const [x, y, sampleWeight] = [new Float32Array(2 * count), new Uint8Array(count), new Float32Array(count)]
for (let i = 0; i < count; i++) {
  const point = [2 * random.uniform() - 1, 2 * random.uniform() - 1] as const
  const isDoubtful = random.uniform() < 0.2
  const truth = Math.hypot(...point) < 0.35 ? 1 : 0 // a tenth of all points
  x.set(point, 2 * i)
  y[i] = isDoubtful && random.uniform() < 0.5 ? 1 - truth : truth
  sampleWeight[i] = isDoubtful ? 0.1 : 1
}

await open()
const points = data.arrays({ x, shape: [2], y, sampleWeight })
const model = nn.sequential(
  'rare',
  [2],
  [nn.dense(32, { activation: 'relu' }), nn.dense(32, { activation: 'relu' }), nn.dense(2)],
)
const { epochs: results, bestEpoch } = await nn.fit(model, points, {
  loss: nn.sparseCategoricalCrossentropy({ classWeights: [1, 5] }),
  metrics: [nn.accuracy(), nn.recall()],
  ...{ optimizer: nn.adam({ learningRate: 1e-2 }), epochs, batchSize: 32, validationSplit: 0.2, restoreBest: true },
  monitor: 'validationLoss',
  callbacks: [nn.earlyStopping({ patience: 10 }), nn.reduceLROnPlateau({ factor: 0.5, patience: 4 }), nn.csvLog(log)],
})
const best = results[bestEpoch - 1]
console.log(
  `stopped after ${results.length} epochs; the best, ${bestEpoch}, has a recall of ${best?.validationRecall?.toFixed(3)}`,
)
