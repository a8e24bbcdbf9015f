/**
 * Compares kernels by repeated samples: which are clearly slower than the best, which are equal to it, and which wins.
 * Simulated with 3,000 kernels of two to five variants, of which a third had equals, and 250 ms of samples: two tunings
 * agree on 98 % if samples have a standard deviation of 3 %, on 97 % if they vary by up to 10 % either way.
 */

/**
 * Kernels that differ by less than this share are equal: between two tunings, or two programs, the same kernel differs
 * by up to that much.
 */
const margin = 0.05
/** Standard errors within which a difference may be chance. */
const doubt = 2

/** The samples of one variant. */
export class Series {
  readonly variant: string
  readonly #samples: number[] = []
  /** Time of one run in ms. */
  milliseconds = Number.NaN
  /** Standard error of `milliseconds`. */
  error = Number.POSITIVE_INFINITY

  constructor(variant: string) {
    this.variant = variant
  }

  get length(): number {
    return this.#samples.length
  }

  /**
   * Adds samples, in ms per run. The estimate is the mean of the faster half: disturbances mostly add time, and with a
   * load of six on two cores medians found the wrong winner, while a minimum would depend on one lucky sample.
   */
  add(samples: readonly number[]): void {
    this.#samples.push(...samples)
    const sorted = this.#samples.toSorted((a, b) => a - b)
    const half = sorted.slice(0, Math.ceil(sorted.length / 2))
    const mean = half.reduce((sum, x) => sum + x, 0) / half.length
    const variance = half.reduce((sum, x) => sum + (x - mean) ** 2, 0) / Math.max(1, half.length - 1)
    this.milliseconds = mean
    // 1.5: the half varies less than the samples, and where it ends varies too. Right for normal distributions.
    this.error = 1.5 * Math.sqrt(variance / half.length)
  }
}

/** Splits off those that are clearly slower than the best, beyond the margin. */
export function contenders(all: readonly Series[]): { readonly left: Series[]; readonly isDecided: boolean } {
  const best = fastest(all)
  if (best === undefined) return { left: [], isDecided: true }
  const beyond = (one: Series): number => one.milliseconds - best.milliseconds * (1 + margin)
  const left = all.filter((one) => one === best || beyond(one) < spread(one, best))
  return { left, isDecided: left.every((one) => one === best || -beyond(one) > spread(one, best)) }
}

/**
 * The variant to use: of those that are equal to the fastest, `preferred` if it is one of them, else the first by name,
 * so that two tunings choose the same. `preferred` if there are none.
 */
export function winnerOf(all: readonly Series[], preferred: string): string {
  const best = fastest(all)
  if (best === undefined) return preferred
  const equals = all.filter((one) => {
    const difference = one.milliseconds - best.milliseconds
    return difference <= Math.max(margin * best.milliseconds, one === best ? 0 : spread(one, best))
  })
  const names = equals.map(({ variant }) => variant).sort()
  return names.find((name) => name === preferred) ?? names[0] ?? preferred
}

function fastest(all: readonly Series[]): Series | undefined {
  return all.toSorted((a, b) => a.milliseconds - b.milliseconds)[0]
}

/** How far two estimates may differ by chance, in ms. */
function spread(a: Series, b: Series): number {
  return doubt * Math.hypot(a.error, b.error)
}
