/** Tensors are lazy, and so are gradients. Run it: `npx tsx examples/tensors.ts` */

// #region readme
import { dense, evaluate, open, planOf, softmaxCrossEntropy, type Tensor, tensor, valueAndGrad } from 'weftgrad/node'

using device = await open() // a GPU if there is one, else software Vulkan
console.log(device.describe())

const x = tensor([
  [0.5, -1, 2],
  [1.5, 0, -0.5],
])
const labels = tensor([1, 0], [2], 'u32')
const w = tensor([
  [0.1, -0.2],
  [0.4, 0.3],
  [-0.5, 0.2],
])
const b = tensor([0, 0])

const loss = (x: Tensor, labels: Tensor): Tensor => softmaxCrossEntropy(dense(x, w, b), labels)
const [value, [dw, db]] = valueAndGrad(loss, [w, b])(x, labels) // a graph: nothing has run

console.log(dw.toString(), 'in', planOf([value, dw, db]).dispatches.length, 'dispatches for all three')
const [lossNumbers, dwNumbers, dbNumbers] = await evaluate([value, dw, db]) // planned, run and read back together
console.log('loss', lossNumbers, 'dw', dwNumbers, 'db', dbNumbers)
// #endregion readme
