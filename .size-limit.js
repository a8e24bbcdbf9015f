/**
 * How much of the built package a program's bundle may hold, minified and compressed by brotli: `npm run size`. Names come
 * from the namespaces' own entries here, because esbuild, which bundles, cannot take apart `import { nn } from 'weftgrad'`.
 */
const engine = { 'dist/index.js': '{ open }' }
const lenet = {
  ...engine,
  'dist/data/index.js': '{ residentImages, parseFashionMnist }',
  'dist/nn/index.js': '{ lenet5, fit, adam }',
}
const network = (name) => ({ ...engine, 'dist/nn/index.js': `{ ${name} }` })

const bundles = [
  { name: 'the engine and the training of LeNet-5', import: lenet, limit: '76.2 kB' },
  { name: 'the same, compressed by gzip', import: lenet, gzip: true, limit: '86.7 kB' },
  { name: 'VGG16', import: network('vgg16'), limit: '58.3 kB' },
  { name: 'Xception', import: network('xception'), limit: '64.1 kB' },
  { name: 'ResNet152V2', import: network('resnet152v2'), limit: '59.7 kB' },
  {
    name: 'tensors and gradients',
    import: { 'dist/index.js': '{ open, tensor, matmul, valueAndGrad }' },
    limit: '29.9 kB',
  },
  { name: 'a device', import: engine, limit: '7.1 kB' },
]

export default bundles.map((bundle) => ({
  ...bundle,
  path: Object.keys(bundle.import),
  // It warns of imports that `sideEffects: false` lets it leave out.
  modifyEsbuildConfig: (config) => ({ ...config, logLevel: 'error' }),
}))
