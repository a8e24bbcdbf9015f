/**
 * The report of a check: plain JSON, written after every part, so that a check that is cut short keeps what it found.
 */

/** The adapter that was checked, as WebGPU and Dawn describe it. */
export interface AdapterReport {
  /** One line that names it. */
  readonly description: string
  readonly vendor: string
  readonly architecture: string
  readonly device: string
  readonly driver: string
  /** False for software that runs on the CPU. */
  readonly hardware: boolean
  /** Which kind of kernels weftgrad prefers on it. */
  readonly class: 'cpu' | 'gpu'
  readonly features: readonly string[]
  readonly limits: Readonly<Record<string, number>>
  /** The lanes of a subgroup that the adapter reports; undefined without subgroups. */
  readonly subgroupSizes: { readonly min: number; readonly max: number } | undefined
}

/** One part of a check. The part's own figures are further fields. */
export interface PartReport {
  readonly name: string
  /** True if nothing was wrong. */
  readonly ok: boolean
  /** Wall-clock time. */
  readonly seconds: number
  /** Everything that was wrong, a sentence each. */
  readonly problems: readonly string[]
  /** Everything that was skipped, each with its reason. */
  readonly left: readonly string[]
  /** The most bytes that the part's buffers held at one time. */
  readonly peakBytes: number
  readonly [figure: string]: unknown
}

export interface CheckReport {
  readonly what: 'weftgrad check'
  /** Undefined if none could be opened. */
  readonly adapter: AdapterReport | undefined
  /** Commit of the sources, with a `+` if files were changed. */
  readonly commit: string | undefined
  /** ISO 8601. */
  readonly date: string
  readonly versions: { readonly weftgrad: string; readonly webgpu: string; readonly node: string }
  readonly machine: { readonly platform: string; readonly processor: string; readonly threads: number }
  readonly quick: boolean
  /** False while parts are missing, and if the check was cut short. */
  readonly complete: boolean
  /** Wall-clock time of the whole check. */
  readonly seconds: number
  readonly parts: readonly PartReport[]
}

/** A name for files: `nvidia-h100-80gb-hbm3`. */
export function adapterSlug(adapter: AdapterReport | undefined): string {
  const name = adapter?.device || adapter?.driver || 'no-adapter'
  return (
    name
      .toLowerCase()
      .replaceAll(/[^a-z0-9]+/g, '-')
      .replaceAll(/^-+|-+$/g, '') || 'unnamed-adapter'
  )
}
