/**
 * Predicts how far a patient's diabetes will progress in a year, from a CSV file of ten measurements. A metric of its own reports
 * the mean absolute error. Run it: `node --import ./scripts/tsx.mjs examples/regression.ts`
 */
import { readFile } from 'node:fs/promises'
import { abs, data, nn, open, reshape, sub, type Tensor } from 'weftgrad/node'

const epochs = Number(process.env.EPOCHS ?? 150)
await open()
const table = await readFile(new URL('data/diabetes.csv', import.meta.url), 'utf8')
const patients = data.csv(table, { target: 'progression' })
const { rest, held } = data.randomSplit(patients.count, 0.2, 1)
const [train, test] = [patients.subset(rest), patients.subset(held)]

const model = nn.sequential('diabetes', patients.shape, [
  await nn.normalization().adapt(train), // to the training patients only
  nn.dense(32, { activation: 'relu' }),
  nn.dense(16, { activation: 'relu' }),
  nn.dense(1),
])

/** How far off a prediction is: one number for each row. The output is [rows, 1], the target [rows]. */
const absoluteError = (output: Tensor, target: Tensor) => abs(sub(reshape(output, target.shape), target))

const loss = nn.meanSquaredError()
await nn.fit(model, train, {
  ...{ loss, metrics: [absoluteError], validationSplit: 0.1, restoreBest: true, monitor: 'validationAbsoluteError' },
  ...{ optimizer: nn.adam({ learningRate: 3e-3 }), epochs, batchSize: 32 },
})
const scores = await nn.evaluate(model, test, { loss, metrics: [absoluteError] })
console.log(`test mean absolute error ${scores.absoluteError?.toFixed(1)} on ${test.count} patients`)
