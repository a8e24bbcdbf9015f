/**
 * Checks what a short training run has printed and left behind:
 *
 *     node .ci/check-training.mjs REPORT.json EPOCHS
 *
 * where REPORT.json holds the standard output of `weftgrad train lenet --json`. Says every fault on a line of its own, and
 * exits 1 if there is one.
 */
import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'

/** Guessing one of ten classes is right for a tenth of the images; this is far beyond luck on any test set of 100 or more. */
const leastAccuracy = 0.3
const parameters = 113_782

const [path, epochsText] = process.argv.slice(2)
const epochs = Number(epochsText)
/** @type {string[]} */
const faults = []
/** @param {boolean} right @param {string} fault */
const expect = (right, fault) => {
  if (!right) faults.push(fault)
}
/** @param {unknown} value */
const finite = (value) => typeof value === 'number' && Number.isFinite(value)
/** @param {unknown} value */
const positive = (value) => finite(value) && Number(value) > 0

const lines = readFileSync(path ?? '', 'utf8').split('\n')
expect(lines.length === 2 && lines[1] === '', `standard output has ${lines.length - 1} lines instead of one`)
const report = JSON.parse(lines[0] ?? '')

expect(typeof report.adapter === 'string' && report.adapter !== '', 'adapter is not named')
expect(typeof report.hardware === 'boolean', 'hardware is neither true nor false')
expect(report.parameters === parameters, `parameters is ${report.parameters}, not ${parameters}`)
expect(report.epochs === epochs, `epochs is ${report.epochs}, not ${epochs}`)
for (const name of ['batchSize', 'secondsPerEpoch', 'millisecondsPerStep', 'dispatchesPerStep', 'firstStepSeconds'])
  expect(positive(report[name]), `${name} is ${report[name]}`)
for (const part of ['test', 'validation']) {
  const { loss, accuracy } = report[part] ?? {}
  expect(positive(loss), `${part}.loss is ${loss}`)
  expect(accuracy > leastAccuracy && accuracy <= 1, `${part}.accuracy is ${accuracy}, not in (${leastAccuracy}, 1]`)
}

const history = Array.isArray(report.history) ? report.history : []
expect(history.length === epochs, `history has ${history.length} epochs instead of ${epochs}`)
for (const [i, logs] of history.entries()) {
  expect(logs.epoch === i + 1, `history[${i}].epoch is ${logs.epoch}`)
  for (const name of ['loss', 'accuracy', 'validationLoss', 'validationAccuracy', 'learningRate', 'seconds'])
    expect(finite(logs[name]), `history[${i}].${name} is ${logs[name]}`)
}
expect(history.at(-1)?.loss < history[0]?.loss, 'the training loss did not fall')

const folder = String(report.runDir)
/** @param {string} name */
const textOf = (name) => (existsSync(join(folder, name)) ? readFileSync(join(folder, name), 'utf8') : '')
for (const name of ['model.safetensors', 'checkpoint.safetensors']) {
  const file = join(folder, name)
  expect(existsSync(file) && statSync(file).size > 4 * parameters, `${name} is missing or holds too little`)
}
expect(textOf('curves.svg').includes('</svg>'), 'curves.svg is missing or not whole')
expect(/^index,label,predicted\n\d+,\d,\d\n/.test(textOf('predictions.csv')), 'predictions.csv is missing or empty')
const written = textOf('history.jsonl').trimEnd().split('\n')
expect(written.length === epochs, `history.jsonl has ${written.length} lines instead of ${epochs}`)
expect(textOf('history.jsonl').endsWith('\n'), 'history.jsonl ends within a line')
for (const name of ['config.json', 'report.json']) {
  try {
    JSON.parse(textOf(name))
  } catch {
    faults.push(`${name} is missing or not JSON`)
  }
}

for (const fault of faults) process.stderr.write(`training: ${fault}\n`)
if (faults.length > 0) process.exit(1)
const { test, secondsPerEpoch } = report
process.stdout.write(
  `training: ${epochs} epochs of ${secondsPerEpoch.toFixed(1)} s, test accuracy ${(100 * test.accuracy).toFixed(2)} %, all files there\n`,
)
