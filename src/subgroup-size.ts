/** The WGSL with which a shader uses subgroups of a size that is known, for kernels and for the probe of a device. */

export interface SubgroupSize {
  readonly size: number
  /** Whether the shader must ask for it, because the adapter has several sizes. */
  readonly pinned: boolean
}

/** The lines that enable subgroup operations, and the attribute for the entry point. */
export function subgroupText({ size, pinned }: SubgroupSize): { readonly enable: string; readonly attribute: string } {
  return {
    enable: `enable subgroups;\n${pinned ? 'enable subgroup_size_control;\n' : ''}`,
    attribute: pinned ? ` @subgroup_size(${size})` : '',
  }
}
