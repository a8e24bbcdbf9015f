/**
 * The least that WebGPU guarantees is enough: 8 storage buffers in a kernel, bindings of 128 MiB, 16 KiB of workgroup memory,
 * workgroups of 256 lanes, no optional feature. A real device with these limits computes; a recording one shows that every
 * kernel of every variant stays within them, on adapters that are not here.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Device } from '../src/gpu/device.ts'
import { findAdapter } from '../src/gpu/node/adapter.ts'
import { open } from '../src/gpu/open.ts'
import { data, nn } from '../src/index.ts'
import { cases } from './cases.ts'
import { failuresOf } from './support/case-failures.ts'
import { largestDifference } from './support/compare.ts'
import { useDevice } from './support/device.ts'
import { pictures } from './support/pictures.ts'
import { plainGpu } from './support/plain-gpu.ts'
import { compileAll, extractFeatures, networkSizes, tensorsOf, trainLenet } from './support/recorded-work.ts'
import { guaranteedLimits, RecordingGpu } from './support/recording-gpu.ts'
import { plainModel } from './support/small-models.ts'

/** The losses of a short training, in training and validation by turns. A LeNet-5 would compile for most of a minute. */
async function lossesOn(device: Device): Promise<number[]> {
  using images = data.residentImages(device, pictures(120))
  using model = plainModel()
  const options = {
    optimizer: nn.adam({ learningRate: 0.01 }),
    epochs: 3,
    batchSize: 20,
    validationSplit: 0.2,
    seed: 5,
  }
  const { epochs } = await nn.fit(model, images, options)
  return epochs.flatMap(({ loss, validationLoss = Number.NaN }) => [loss, validationLoss])
}

/** The cases are traced once for all adapters. */
const traced = cases.map(tensorsOf)

describe('a device with default limits and no optional feature', () => {
  const other = useDevice()
  let device: Device
  beforeAll(async () => {
    const { gpu } = await findAdapter()
    device = await open({ gpu: plainGpu(gpu) })
  })
  afterAll(() => device?.dispose())

  test('has these limits, and says what is missing', () => {
    for (const [name, limit] of Object.entries(guaranteedLimits))
      expect(Reflect.get(device.limits, name), name).toBe(limit)
    expect(device.subgroups).toMatchObject({ size: undefined, problem: 'The adapter has no subgroups.' })
    expect(device.timestamps).toBe(false)
  })

  test('computes the first case of every operator correctly', async () => {
    const { ran, failures } = await failuresOf(device)
    expect(failures).toEqual([])
    expect(ran).toBeGreaterThan(50)
  })

  test('trains to the losses of a device with more', async () => {
    const [own, others] = [await lossesOn(device), await lossesOn(other())]
    expect(own).toHaveLength(6)
    expect(own.at(-1)).toBeLessThan(own[0] ?? Number.NaN)
    expect(largestDifference(own, others)).toBeLessThan(1e-4)
  })
})

describe.each([
  ['a GPU', false, undefined],
  ['a GPU', false, 32],
  ['a processor', true, undefined],
  ['a processor', true, 8],
] as const)('on %s with default limits (software: %s, subgroups of %s)', (_, software, subgroupSize) => {
  const recording = new RecordingGpu({
    ...{ limits: guaranteedLimits, software },
    ...(subgroupSize === undefined ? {} : { subgroupSize }),
  })
  let device: Device
  beforeAll(async () => {
    device = await open({ gpu: recording.gpu })
    expect(device.subgroups.size).toBe(subgroupSize)
  })
  afterAll(() => device.dispose())

  test('every variant of every case stays within them', async () => {
    for (const tensors of traced) await compileAll(device, tensors)
    expect(recording.shaders.size).toBeGreaterThan(500)
    expect(recording.refusals).toEqual([])
  })

  test('training a LeNet-5 stays within them', async () => {
    const before = recording.submissions.length
    await trainLenet(device, 'adam', 128)
    expect(recording.submissions.length).toBeGreaterThan(before)
    expect(recording.refusals).toEqual([])
  })

  test.each(networkSizes.filter(([, size]) => size > 200))(
    'extracting features stays within them: %s at %i pixels',
    async (...network) => {
      await extractFeatures(device, network)
      expect(recording.refusals).toEqual([])
    },
  )
})

test('a recording device tells what exceeds its limits', async () => {
  const recording = new RecordingGpu({ limits: guaranteedLimits })
  using device = await open({ gpu: recording.gpu })
  await device.pipeline({
    label: 'large',
    wgsl: 'var<workgroup> all: array<vec4f, 1025>;\n@compute @workgroup_size(512) fn main() {}',
    access: Array.from({ length: 9 }, () => 'read' as const),
  })
  expect(recording.refusals).toEqual([
    'storage buffers of large: 9 of 8',
    'lanes of large: 512 of 256',
    'lanes in x of large: 512 of 256',
    'workgroup memory of large: 16400 of 16384',
  ])
})
