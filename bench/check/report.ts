/** What a check says: plain JSON, written after every part, so that a check that is cut short leaves what it found. */

/** The adapter that was checked, as WebGPU and Dawn describe it. */
export interface AdapterReport {
  /** One line for people. */
  readonly description: string
  readonly vendor: string
  readonly architecture: string
  readonly device: string
  readonly driver: string
  /** False for a processor that plays a GPU. */
  readonly hardware: boolean
  /** Which kernels weftgrad prefers on it. */
  readonly class: 'cpu' | 'gpu'
  readonly features: readonly string[]
  readonly limits: Readonly<Record<string, number>>
  /** Lanes of a subgroup, as the adapter tells; undefined without subgroups. */
  readonly subgroupSizes: { readonly min: number; readonly max: number } | undefined
}

/** One part of a check. What a part measured stands beside these fields. */
export interface PartReport {
  readonly name: string
  /** True if all that was done was right. */
  readonly ok: boolean
  /** Wall clock. */
  readonly seconds: number
  /** What was wrong, each a sentence. */
  readonly problems: readonly string[]
  /** What was not done, each with its reason. */
  readonly left: readonly string[]
  /** The most bytes that the part's buffers took at one time. */
  readonly peakBytes: number
  readonly [figure: string]: unknown
}

export interface CheckReport {
  readonly what: 'weftgrad check'
  /** Undefined where none could be opened. */
  readonly adapter: AdapterReport | undefined
  /** Of the sources, with a `+` where files were changed. */
  readonly commit: string | undefined
  /** ISO 8601. */
  readonly date: string
  readonly versions: { readonly weftgrad: string; readonly webgpu: string; readonly node: string }
  readonly machine: { readonly platform: string; readonly processor: string; readonly threads: number }
  readonly quick: boolean
  /** False while parts are still to come, and where the check was cut short. */
  readonly complete: boolean
  /** Wall clock of all of it. */
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
