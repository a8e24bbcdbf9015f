/**
 * Weight files in Node.js, as one namespace: what runs anywhere, files by path, and the published ones found or fetched.
 * @module
 */

export { findClassIndex, findWeights as find } from './find.node.ts'
export * from './index.ts'
export { openAnywhere as open } from './open.node.ts'
