/** Trainings that stop on one device and resume elsewhere. */
import { expect } from 'vitest'
import type { Device } from '../../src/gpu/device.ts'
import { nn } from '../../src/index.ts'
import type { Callbacks, FitOptions, TrainingCheckpoint } from '../../src/nn/contract.ts'
import type { Model } from '../../src/nn/model.ts'
import { useDevice } from './device.ts'
import { failure } from './failure.ts'
import type { Outcome, Training } from './training.ts'
import { useTraining } from './training.ts'

/** When to stop a run. */
export interface Stop {
  readonly name: string
  readonly isInMidEpoch: boolean
  /** Arranges for `abort` to be called; returns callbacks to train with. */
  arrange(on: Device, abort: () => void): Callbacks
}

export const stops = {
  atOnce: {
    name: 'before the first step',
    isInMidEpoch: false,
    arrange: (_, abort) => ({ onBegin: abort }),
  },
  afterOneStep: {
    name: 'in the middle of the first epoch',
    isInMidEpoch: true,
    arrange: (_, abort) => ({ onFirstStep: abort }),
  },
  afterOneEpoch: {
    name: 'at the end of the first epoch',
    isInMidEpoch: false,
    arrange: (_, abort) => ({ onEpochEnd: abort }),
  },
  inSecondEpoch: {
    name: 'in the middle of the second epoch',
    isInMidEpoch: true,
    arrange: (on, abort) => ({
      onCheckpoint: ({ epoch, step }) => {
        if (epoch === 1 && step === 0) withNextSubmission(on, abort)
      },
    }),
  },
} satisfies Readonly<Record<string, Stop>>

/** Calls `act` with the next submission of work. */
function withNextSubmission(on: Device, act: () => void): void {
  const { queue } = on.gpu
  const submit = queue.submit
  queue.submit = (commands) => {
    queue.submit = submit
    act()
    return submit.call(queue, commands)
  }
}

interface StoppedTraining extends Training {
  /** Trains until `stop`, and returns the last checkpoint. */
  stopped(makeModel: () => Model, count: number, options: FitOptions, stop: Stop): Promise<TrainingCheckpoint>
  /** Resumes from a checkpoint, on another device and with a new model. */
  resumed(makeModel: () => Model, count: number, options: FitOptions, resume: TrainingCheckpoint): Promise<Outcome>
}

/** Like `useTraining`, with one device for stopping runs and another for resuming; each compiles its shaders once. */
export function useStoppedTraining(): StoppedTraining {
  const stoppedOn = useDevice()
  const resumedOn = useDevice()
  /** Opened last, so tensors made from host values are computed on it. */
  const training = useTraining()
  const { pictureSet, trained } = training

  async function stopped(
    makeModel: () => Model,
    count: number,
    options: FitOptions,
    stop: Stop,
  ): Promise<TrainingCheckpoint> {
    const own = stoppedOn()
    using data = pictureSet(count, own)
    using model = makeModel()
    const controller = new AbortController()
    const callbacks = stop.arrange(own, () => controller.abort())
    const checkpoints: TrainingCheckpoint[] = []
    const onCheckpoint = async (checkpoint: TrainingCheckpoint): Promise<void> => {
      checkpoints.push(checkpoint)
      await callbacks.onCheckpoint?.(checkpoint)
    }
    const error = await failure(
      nn.fit(model, data, { ...options, signal: controller.signal, callbacks: { ...callbacks, onCheckpoint } }),
    )
    const last = checkpoints.at(-1)
    if (last === undefined) throw new Error('a stopped run hands out a checkpoint')
    expect(error).toMatchObject({ code: 'aborted', details: { epoch: last.epoch, step: last.step } })
    expect(await model.weightNumbers()).toEqual(last.weights)
    return last
  }

  async function resumed(
    makeModel: () => Model,
    count: number,
    options: FitOptions,
    resume: TrainingCheckpoint,
  ): Promise<Outcome> {
    return await trained(makeModel, count, { ...options, resume }, resumedOn())
  }

  return { ...training, stopped, resumed }
}
