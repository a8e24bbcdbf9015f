/**
 * Data sets in Node.js, as one namespace: those that run anywhere, folders of pictures, and Fashion-MNIST found or fetched.
 * @module
 */

export { fashionMnist } from './fashion-mnist.node.ts'
export { imageFolder } from './image-folder.node.ts'
export * from './index.ts'
