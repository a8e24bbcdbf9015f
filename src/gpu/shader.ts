/** What the device needs to know of a shader, and how its compile errors are shown. */

export interface Shader {
  readonly label: string
  readonly wgsl: string
  /** Access of the storage bindings 1, 2, ...; binding 0 is the uniform block. */
  readonly access: readonly ('read' | 'read_write')[]
}

export function layoutEntries(access: readonly ('read' | 'read_write')[]): GPUBindGroupLayoutEntry[] {
  const compute = 0x4
  const storage = access.map(
    (a, i): GPUBindGroupLayoutEntry => ({
      binding: i + 1,
      visibility: compute,
      buffer: { type: a === 'read' ? 'read-only-storage' : 'storage' },
    }),
  )
  return [{ binding: 0, visibility: compute, buffer: { type: 'uniform' } }, ...storage]
}

/** The compiler's errors, each with the line it complains about. */
export function describeCompilation(shader: Shader, info: GPUCompilationInfo): string {
  const lines = shader.wgsl.split('\n')
  return info.messages
    .filter((message) => message.type === 'error')
    .map((message) => `${message.message}\n  ${message.lineNum}: ${lines[message.lineNum - 1] ?? ''}`)
    .join('\n')
}
