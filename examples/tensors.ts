/** Computes a loss and its gradients. Run it: `node --import ./scripts/tsx.mjs examples/tensors.ts` */

// #region readme
import { dense, evaluate, open, softmaxCrossEntropy, tensor, valueAndGrad } from 'weftgrad/node'

await open()
const x = tensor([0.5, -1, 2, 1.5, 0, -0.5], [2, 3])
const labels = tensor([1, 0], [2], 'u32')
const w = tensor([0.1, -0.2, 0.4, 0.3, -0.5, 0.2], [3, 2])
const b = tensor([0, 0])

const loss = () => softmaxCrossEntropy(dense(x, w, b), labels)
const [value, [dw, db]] = valueAndGrad(loss, [w, b])() // a graph: nothing has run yet
console.log('gradient by w:', String(dw))
console.log(await evaluate([value, dw, db])) // planned, run and read back as one program
// #endregion readme
