/** A program for Node.js: prints, as JSON, the browser's training images and the losses to compare with. */
import { open } from 'weftgrad/node'
import { loadFashionMnist } from '../../src/data/fashion-mnist.node.ts'
import { referenceTrajectories, trajectoryImages, trajectoryOn } from '../support/lenet-trajectory.ts'
import { shortTraining } from '../support/short-training.ts'
import type { NodeNumbers } from './node-commands.ts'

const encoded = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64')

const device = await open()
const { train } = await loadFashionMnist()
const trajectories: (readonly number[])[] = []
for (const reference of referenceTrajectories) trajectories.push((await trajectoryOn(device, reference, train)).losses)
const { epochs } = await shortTraining(device)
const numbers: NodeNumbers = {
  adapter: device.describe(),
  images: encoded(train.images.subarray(0, trajectoryImages * 784)),
  labels: encoded(train.labels.subarray(0, trajectoryImages)),
  trajectories,
  epochs,
}
console.log(JSON.stringify(numbers))
