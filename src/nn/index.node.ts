/**
 * Layers, models and training in Node.js, with models, checkpoints and logs in files: `import { nn } from 'weftgrad/node'`.
 * @module
 */

export { checkpointFile, csvLog, readCheckpoint } from './callbacks.node.ts'
export * from './index.ts'
export { loadModel, saveModel } from './model-file.node.ts'
