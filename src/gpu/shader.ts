/** The parts of a shader that a device needs. */

/** How a shader uses a storage binding. */
export type BindingAccess = 'read' | 'read_write'

export interface Shader {
  readonly label: string
  readonly wgsl: string
  /** Access of the storage bindings 1, 2, ...; binding 0 is the uniform block. */
  readonly access: readonly BindingAccess[]
}
