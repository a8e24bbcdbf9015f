/**
 * Weights files in Node.js, as one namespace: everything of `weights`, files by path, and published weights, found or downloaded.
 * @module
 */

export { findClassIndex, findWeights as find } from './find.node.ts'
export * from './index.ts'
export { openAnywhere as open } from './open.node.ts'
export { saveModel } from './save-model.node.ts'
