/**
 * How work is timed. It is repeated until a sample is long enough for the clock (20 ms). It runs once before, since
 * software Vulkan compiles at the first dispatch. Subjects are sampled in turn, so that a machine that slows down slows
 * all of them. Reported are the median, the quartiles and the minimum.
 */

import { WeftgradError } from '../src/errors.ts'

export interface Subject {
  /** Does the work this many times; resolves when the last run has finished. */
  run(repeats: number): Promise<void>
  /** The most repeats in one call of `run`. */
  readonly maxRepeats: number
  /** True if an earlier subject has compiled everything: no run goes before the samples. */
  readonly isCompiled?: boolean
}

/** The spread of samples, in their unit. Quartiles between two samples are interpolated. */
export interface Spread {
  readonly minimum: number
  readonly lowerQuartile: number
  readonly upperQuartile: number
}

export interface Summary {
  readonly median: number
  readonly spread: Spread
}

export interface Measurement {
  /** Wall-clock time of one repeat: the median over the samples. */
  readonly milliseconds: number
  readonly spread: Spread
  readonly samples: number
  /** Runs in one sample. */
  readonly repeats: number
}

export interface Sampling {
  readonly samples: number
  /** The shortest a sample should be, in ms. */
  readonly sampleMilliseconds: number
  /** A subject that has taken this long, in ms, is not sampled further, once it has `fewestSamples`. */
  readonly budgetMilliseconds: number
  readonly fewestSamples: number
  /** The clock, in ms. */
  readonly now?: () => number
}

export const thoroughSampling: Sampling = {
  samples: 20,
  sampleMilliseconds: 20,
  budgetMilliseconds: 15_000,
  fewestSamples: 5,
}

export const quickSampling: Sampling = {
  samples: 5,
  sampleMilliseconds: 20,
  budgetMilliseconds: 5_000,
  fewestSamples: 3,
}

/** Summarizes samples. Throws 'argument' if there are none. */
export function summarize(samples: readonly number[]): Summary {
  if (samples.length === 0) throw new WeftgradError('argument', 'There is no median: there are no samples.')
  const sorted = samples.toSorted((a, b) => a - b)
  return {
    median: quantile(sorted, 0.5),
    spread: {
      minimum: sorted[0] ?? Number.NaN,
      lowerQuartile: quantile(sorted, 0.25),
      upperQuartile: quantile(sorted, 0.75),
    },
  }
}

function quantile(sorted: readonly number[], share: number): number {
  const position = share * (sorted.length - 1)
  const below = sorted[Math.floor(position)] ?? Number.NaN
  const above = sorted[Math.ceil(position)] ?? Number.NaN
  return below + (above - below) * (position - Math.floor(position))
}

/** Samples the subjects in turn, round by round. Returns a measurement for each, in their order. */
export async function measureInTurn(subjects: readonly Subject[], sampling: Sampling): Promise<Measurement[]> {
  const now = sampling.now ?? (() => performance.now())
  const timed = async (subject: Subject, repeats: number): Promise<number> => {
    const begin = now()
    await subject.run(repeats)
    return now() - begin
  }
  const series: { subject: Subject; repeats: number; samples: number[]; spent: number }[] = []
  for (const subject of subjects) {
    if (subject.isCompiled !== true) await subject.run(1) // compiles
    const repeats = await fittingRepeats(subject, sampling.sampleMilliseconds, timed)
    series.push({ subject, repeats, samples: [], spent: 0 })
  }
  for (let round = 0; round < sampling.samples; round++) {
    for (const one of series) {
      if (one.spent > sampling.budgetMilliseconds && one.samples.length >= sampling.fewestSamples) continue
      const elapsed = await timed(one.subject, one.repeats)
      one.samples.push(elapsed / one.repeats)
      one.spent += elapsed
    }
  }
  return series.map(({ samples, repeats }) => {
    const { median, spread } = summarize(samples)
    return { milliseconds: median, spread, samples: samples.length, repeats }
  })
}

/** The repeats that fill a sample; 1 if a single run takes longer, or is all that the subject can do. */
async function fittingRepeats(
  subject: Subject,
  sampleMilliseconds: number,
  timed: (subject: Subject, repeats: number) => Promise<number>,
): Promise<number> {
  if (subject.maxRepeats === 1) return 1
  let repeats = 1
  for (;;) {
    const elapsed = await timed(subject, repeats)
    if (elapsed >= sampleMilliseconds || repeats >= subject.maxRepeats) return repeats
    // A tenth more than needed, so that most samples are long enough; at most 16 times the last guess.
    const growth = Math.min(16, Math.max(1.2, (1.1 * sampleMilliseconds) / Math.max(elapsed, 1e-3)))
    repeats = Math.min(subject.maxRepeats, Math.ceil(repeats * growth))
  }
}
