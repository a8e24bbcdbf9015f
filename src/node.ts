/** weftgrad in Node.js: the public surface, a device on the best adapter there is, and files. */

export { loadFashionMnist } from './data/fashion-mnist.node.ts'
export { open } from './gpu/node/open.ts'
export * from './index.ts'
