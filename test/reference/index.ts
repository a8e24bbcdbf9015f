/** The plain float64 reference, by the engine's names: `import * as reference from './reference/index.ts'`. */
export * from './array64.ts'
export * from './elementwise.ts'
export * from './matmul.ts'
export * from './movement.ts'
export * from './normalization.ts'
export * from './reduce.ts'
export * from './resize.ts'
export * from './window.ts'
