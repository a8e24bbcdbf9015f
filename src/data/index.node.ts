/**
 * Data sets in Node.js, as one namespace: those that run anywhere, and Fashion-MNIST found or fetched.
 * @module
 */

export { fashionMnist } from './fashion-mnist.node.ts'
export * from './index.ts'
