/**
 * Layers, models and training in Node.js, with models in files: `import { nn } from 'weftgrad/node'`.
 * @module
 */

export * from './index.ts'
export { loadModel, saveModel } from './model-file.node.ts'
