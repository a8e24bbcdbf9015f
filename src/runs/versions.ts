/** The versions that made a run, in config.json, so that a result can be traced to the code that made it. */

export interface Versions {
  readonly weftgrad: string
  /** Dawn's Node package. */
  readonly webgpu: string
  readonly node: string
  readonly platform: string
}
