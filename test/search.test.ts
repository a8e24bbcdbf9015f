/**
 * The trials of a search, which ones are promoted and which one wins, with made-up trainings; and how it is displayed.
 */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { colorsFor } from '../src/cli/shown.ts'
import { trialTable } from '../src/cli/trial-table.ts'
import type { EpochLogs } from '../src/nn/contract.ts'
import { Random } from '../src/random.ts'
import { EpochClock } from '../src/runs/epoch-clock.ts'
import { inLanes } from '../src/runs/lanes.ts'
import {
  bestOf,
  entrants,
  Outcomes,
  planSearch,
  runSearch,
  type SearchOptions,
  scoreOf,
  standings,
  type TrialOutcome,
  type TrialTask,
  trialResults,
} from '../src/search/search.ts'
import { resolveSearchSettings } from '../src/search/settings.ts'
import { fashionMnistLenet5 as task } from '../src/tasks/fashion-mnist-lenet5.node.ts'
import { type Point, Space } from '../src/tasks/space.ts'

const space = new Space({ units: [8, 16, 32], rate: [1e-1, 1e-2, 1e-3, 1e-4] })
const options: SearchOptions = { method: 'hyperband', maxEpochs: 9, factor: 3, sizes: 'keras', trials: null, seed: 3 }
const plan = planSearch(space, options)

function logs(epoch: number, accuracy: number, loss = 1 - accuracy): EpochLogs {
  return { epoch, loss, accuracy, validationLoss: loss, validationAccuracy: accuracy, learningRate: 1, seconds: 1 }
}

/** A training whose outcome depends only on the trial. */
function made({ trial, round, epochs }: TrialTask<unknown>): TrialOutcome {
  const random = new Random(trial.seed)
  const history = Array.from({ length: epochs }, (_, i) => logs(i + 1, Math.round(random.uniform() * 20) / 20))
  const score = random.below(8) === 0 ? undefined : scoreOf(history)
  const reached = { trial: trial.id, round, epochs, history }
  return score === undefined ? { ...reached, score: null, problem: 'made up' } : { ...reached, score }
}

describe('the trials of a search', () => {
  it('are distinct within a bracket, numbered consecutively, each with its own seed', () => {
    expect(plan.map(({ trials }) => trials.length)).toEqual([9, 5, 3])
    for (const { trials, bracket } of plan) {
      expect(new Set(trials.map(({ hyperparameters }) => JSON.stringify(hyperparameters))).size).toBe(trials.length)
      expect(trials.every((trial) => trial.bracket === bracket)).toBe(true)
    }
    const all = plan.flatMap(({ trials }) => trials)
    expect(all.map(({ id }) => id)).toEqual(all.map((_, i) => i + 1))
    expect(new Set(all.map(({ seed }) => seed)).size).toBe(all.length)
    expect(planSearch(space, options)).toEqual(plan)
    expect(planSearch(space, { ...options, seed: 4 })).not.toEqual(plan)
  })

  it('are the whole grid, or randomly drawn points, in one round', () => {
    const [grid] = planSearch(space, { ...options, method: 'grid' })
    expect(grid?.rounds).toEqual([{ size: 12, epochs: 9 }])
    expect(grid?.trials.map(({ hyperparameters }) => hyperparameters)).toEqual(
      Array.from({ length: 12 }, (_, i) => space.at(i)),
    )
    const [few] = planSearch(space, { ...options, method: 'random', trials: 5 })
    expect(few?.trials).toHaveLength(5)
    expect(planSearch(space, { ...options, method: 'random', trials: 99 })[0]?.rounds[0]?.size).toBe(12)
  })

  it('reject settings that their method does not use', () => {
    for (const given of [
      { trials: 4 },
      { method: 'grid', factor: 3 },
      { method: 'random', sizes: 'paper' },
      { method: 'bayes' },
      { maxEpochs: 0 },
      { factor: 1 },
    ])
      expect(() => resolveSearchSettings(task, given as object)).toThrow(expect.objectContaining({ code: 'argument' }))
    expect(resolveSearchSettings(task, { method: 'random', trials: 4 })).toMatchObject({ trials: 4, maxEpochs: 10 })
  })
})

describe('a round', () => {
  const [bracket] = plan
  if (bracket === undefined) throw new Error('there is a bracket')
  const outcomes = (accuracies: readonly (number | null)[]) =>
    new Outcomes(
      bracket.trials.slice(0, accuracies.length).map(({ id }, i): TrialOutcome => {
        const accuracy = accuracies[i] ?? null
        const score = accuracy === null ? null : { accuracy, loss: 0.5, epoch: 1 }
        return { trial: id, round: 1, epochs: 1, score, history: [] }
      }),
    )
  const next = (accuracies: readonly (number | null)[]) => entrants(bracket, 2, outcomes(accuracies))?.map((t) => t.id)

  it('has the best trials of the previous round; among equals the first', () => {
    expect(next([0.1, 0.9, 0.2, 0.8, 0.3, 0.7, 0, 0, 0])).toEqual([2, 4, 6])
    expect(next([0.5, 0.5, 0.5, 0.5, 0.6, 0.5, 0, 0, 0])).toEqual([1, 2, 5])
  })

  it('does not begin before the previous round is over', () => {
    expect(next([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2])).toBeUndefined()
  })

  it('never has failed trials, and may be smaller as a result', () => {
    expect(next([null, null, 0.1, null, null, null, 0.2, null, null])).toEqual([3, 7])
    expect(next(Array(9).fill(null))).toEqual([])
  })

  it('breaks ties of accuracy by the lower loss', () => {
    const tied = new Outcomes(
      bracket.trials.map(({ id }) => ({
        ...{ trial: id, round: 1, epochs: 1, history: [] },
        score: { accuracy: 0.5, loss: 1 / id, epoch: 1 },
      })),
    )
    expect(entrants(bracket, 2, tied)?.map(({ id }) => id)).toEqual([7, 8, 9])
  })
})

describe('a search', () => {
  it('trains a trial only in its own rounds, for the scheduled epochs', async () => {
    const asked: string[] = []
    const outcomes = await runSearch(plan, async (task) => {
      asked.push(`${task.bracket.bracket}/${task.round} to ${task.epochs}`)
      return { ...made(task), score: { accuracy: task.trial.id / 100, loss: 1, epoch: 1 } }
    })
    const counts = new Map<string, number>()
    for (const one of asked) counts.set(one, (counts.get(one) ?? 0) + 1)
    expect(Object.fromEntries(counts)).toEqual({
      ...{ '2/1 to 1': 9, '2/2 to 3': 3, '2/3 to 9': 1 },
      ...{ '1/1 to 3': 5, '1/2 to 9': 2 },
      '0/1 to 9': 3,
    })
    expect(bestOf(plan, outcomes)).toMatchObject({ id: 17, bracket: 0, round: 1, epochs: 9, state: 'finished' })
    const states = trialResults(plan, outcomes).map(({ state }) => state)
    expect(states.filter((state) => state === 'stopped')).toHaveLength(8 + 3)
    expect(states.filter((state) => state === 'finished')).toHaveLength(1 + 2 + 3)
  })

  it('that is stopped anywhere, any number of times, gives the same trials', async () => {
    const whole = trialResults(plan, await runSearch(plan, async (task) => made(task)))
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 0, max: 12 }), { maxLength: 6 }),
        fc.integer({ min: 1, max: 4 }),
        async (crashes, lanes) => {
          const log: TrialOutcome[] = []
          const trained: string[] = []
          for (const after of [...crashes, Number.POSITIVE_INFINITY]) {
            let left = after
            const running = runSearch(
              plan,
              async (task) => {
                await Promise.resolve()
                if (left-- <= 0) throw new Error('crash')
                const outcome = made(task)
                log.push(outcome)
                trained.push(`${outcome.trial}/${outcome.round}`)
                return outcome
              },
              { outcomes: new Outcomes(log), lanes },
            )
            if (after === Number.POSITIVE_INFINITY) expect(trialResults(plan, await running)).toEqual(whole)
            else
              await running.then(
                () => undefined,
                (error: Error) => expect(error.message).toBe('crash'),
              )
          }
          expect(new Set(trained).size).toBe(trained.length)
        },
      ),
      { numRuns: 50 },
    )
  })

  it('in which every training fails is refused, and a stopped one says so', async () => {
    const failing = async (task: TrialTask<unknown>) => ({ ...made(task), score: null, problem: 'bad' })
    await expect(runSearch(plan, failing)).rejects.toMatchObject({ code: 'not-finite' })
    const stopped = runSearch(plan, async (task) => made(task), { signal: AbortSignal.abort() })
    await expect(stopped).rejects.toMatchObject({ code: 'aborted' })
  })
})

describe('lanes', () => {
  it('run a given number at a time, in order', async () => {
    let [now, most] = [0, 0]
    const begun: number[] = []
    await inLanes([1, 2, 3, 4, 5, 6, 7], { lanes: 3 }, async (item) => {
      begun.push(item)
      most = Math.max(most, ++now)
      await new Promise((done) => setTimeout(done, item % 3))
      now--
    })
    expect([begun, most, now]).toEqual([[1, 2, 3, 4, 5, 6, 7], 3, 0])
  })

  it('stop together: the others are told, waited for, and the first error is thrown', async () => {
    const ended: string[] = []
    const work = async (item: number, signal: AbortSignal) => {
      if (item === 2) throw new Error('first')
      await new Promise((done) => signal.addEventListener('abort', done))
      ended.push(`${item} was told`)
      throw new Error('later')
    }
    await expect(inLanes([1, 2, 3], { lanes: 2 }, work)).rejects.toThrow('first')
    expect(ended).toEqual(['1 was told'])
  })

  it('begin nothing once the signal has fired', async () => {
    const begun: number[] = []
    await inLanes([1, 2], { lanes: 2, signal: AbortSignal.abort() }, async (item) => void begun.push(item))
    expect(begun).toEqual([])
  })
})

describe('the clock of a job', () => {
  it('counts neither the training of earlier processes nor the first work, which compiles, for the rate', () => {
    let ms = 0
    const clock = new EpochClock(20, () => ms)
    clock.reach(1, 4)
    ms = 60_000
    clock.report(2, { epoch: 3, epochs: 4, step: 5, steps: 10, imagesPerSecond: 1, etaSeconds: 1 })
    expect(clock.progress).toEqual({ done: 6.5, total: 20, etaSeconds: Number.NaN })
    ms = 61_000
    clock.report(2, { epoch: 3, epochs: 4, step: 10, steps: 10, imagesPerSecond: 1, etaSeconds: 1 })
    // Done: 4 and 3 epochs. Half an epoch took a second.
    expect(clock.progress).toEqual({ done: 7, total: 20, etaSeconds: 26 })
    expect(new EpochClock(5).progress).toEqual({ done: 0, total: 5, etaSeconds: Number.NaN })
  })
})

describe('the table of trials', () => {
  it('shows the outcome of each, and the progress of those in training', () => {
    const [bracket] = plan
    if (bracket === undefined) throw new Error('there is a bracket')
    const done = bracket.trials.map(
      ({ id }): TrialOutcome =>
        id === 5
          ? { trial: id, round: 1, epochs: 1, score: null, problem: 'bad', history: [] }
          : {
              trial: id,
              round: 1,
              epochs: 1,
              score: { accuracy: id / 10, loss: 1, epoch: 1 },
              history: [logs(1, 0.5)],
            },
    )
    const progress = { epoch: 2, epochs: 3, step: 5, steps: 10, imagesPerSecond: 1, etaSeconds: 1 }
    const point: Point = bracket.trials[8]?.hyperparameters ?? {}
    const lines = trialTable(
      bracket,
      new Outcomes(done),
      { colors: colorsFor({}), columns: 120 },
      new Map([[9, { progress }]]),
    )
    expect(lines[0]).toContain('Bracket 2: 9 trials to 1 epoch, 3 to 3, 1 to 9')
    expect(lines[2]).toMatch(/^ +1 .* 10\.00\u00a0% .*stopped after round 1$/)
    expect(lines[6]).toMatch(/^ +5 .*failed$/)
    expect(lines[8]).toMatch(/70\.00\u00a0% .*continues to round 2$/)
    expect(lines[10]).toContain(`${point.rate}       1    90.00\u00a0%    1.0000  epoch 2 of 3, 50 %`)
    expect(standings(bracket, new Outcomes(done.slice(0, 3))).map(({ state }) => state)).toEqual([
      ...Array(3).fill('trained'),
      ...Array(6).fill('waiting'),
    ])
  })
})
