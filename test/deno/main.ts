/**
 * A program for Deno: computes all cases, a short training and a LeNet-5 from a file on Deno's WebGPU (wgpu), and prints
 * a report, one line of JSON per finding.
 */
import { type nn, open, weights } from 'weftgrad'
import { readSafetensors } from '../../src/format/safetensors.ts'
import { cases } from '../cases.ts'
import { failureOf } from '../support/case-failures.ts'
import { disagreement } from '../support/compare.ts'
import { probabilitiesOf } from '../support/lenet-predictions.ts'
import { shortTraining } from '../support/short-training.ts'

export type Finding =
  | { readonly kind: 'device'; readonly description: string; readonly subgroups: string }
  /** Without a failure, the case is right. */
  | { readonly kind: 'case'; readonly name: string; readonly failure?: string | undefined }
  | { readonly kind: 'memory'; readonly liveBytes: number }
  | { readonly kind: 'training'; readonly epochs: readonly nn.EpochLogs[]; readonly repeats: boolean }
  | { readonly kind: 'weights'; readonly name: string; readonly failure?: string | undefined }

const tell = (finding: Finding): void => console.log(JSON.stringify(finding))

const bytesOf = async (name: string): Promise<Uint8Array> =>
  new Uint8Array(await (await fetch(new URL(`../fixtures/models/${name}`, import.meta.url))).arrayBuffer())

const device = await open()
const { size, problem } = device.subgroups
tell({ kind: 'device', description: device.describe(), subgroups: problem ?? String(size) })

const before = device.memory().liveBytes
for (const one of cases) tell({ kind: 'case', name: one.name, failure: await failureOf(device, one) })
tell({ kind: 'memory', liveBytes: device.memory().liveBytes - before })

/** All numbers of a run except its duration. */
const numbersOf = (epochs: readonly nn.EpochLogs[]) => JSON.stringify(epochs.map(({ seconds: _, ...rest }) => rest))
const { epochs } = await shortTraining(device)
const again = await shortTraining(device)
tell({ kind: 'training', epochs, repeats: numbersOf(epochs) === numbersOf(again.epochs) })

const { tensors } = readSafetensors(await bytesOf('expected.safetensors'))
const [images, probabilities] = [tensors.get('images'), tensors.get('probabilities')]
if (images?.dtype !== 'U8' || probabilities?.dtype !== 'F32') throw new Error('expected.safetensors is another file')
for (const file of ['lenet5.h5', 'lenet5.keras']) {
  const own = await probabilitiesOf(device, await weights.open(await bytesOf(file), { name: file }), images.data)
  tell({ kind: 'weights', name: file, failure: disagreement(own, probabilities.data, { rtol: 0, atol: 1e-5 }) })
}
device.dispose()
