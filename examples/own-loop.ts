/**
 * A training loop of its own on Fashion-MNIST: one optimizer for the convolutions and one for the dense layer, each with a
 * schedule, gradients clipped. Run it: `node --import ./scripts/tsx.mjs examples/own-loop.ts`
 */
import { data, mean, nn, open, type Tensor, tensor } from 'weftgrad/node'

const epochs = Number(process.env.EPOCHS ?? 2)
const batch = 64
const device = await open()
const { train, test } = await data.fashionMnist(device)
const stepsPerEpoch = Math.floor(train.count / batch)
const steps = epochs * stepsPerEpoch

const model = nn.sequential(
  'own-loop',
  [28, 28, 1],
  [
    nn.conv2d('conv1', 16, 3, { activation: 'relu' }),
    nn.maxPooling2d(),
    nn.conv2d('conv2', 32, 3, { activation: 'relu' }),
    nn.maxPooling2d(),
    nn.flatten(),
    nn.dropout(0.3),
    nn.dense('logits', 10),
  ],
)
const optimizer = [
  { weights: /^conv/, optimizer: nn.sgd({ learningRate: nn.cosineRate(0.05), momentum: 0.9, globalClipNorm: 1 }) },
  {
    weights: /^logits/,
    optimizer: nn.adam({ learningRate: nn.stepRate(1e-3, { every: stepsPerEpoch }), clipNorm: 1 }),
  },
]
const crossentropy = nn.sparseCategoricalCrossentropy()

/** The loss of a batch, from the numbers of its images: these are on the device already. */
function loss({ rows }: { readonly rows: Tensor }, training: nn.ModelCall): Tensor {
  const { x, target } = data.examples(train, rows)
  return mean(crossentropy.rows(model.call(x, training), target))
}
const step = nn.trainStep(model, loss, optimizer, { steps })
const random = new nn.Random(1, 'order')
const order = Uint32Array.from({ length: train.count }, (_, i) => i)

for (let epoch = 1; epoch <= epochs; epoch++) {
  random.shuffle(order)
  for (let i = 0; i < stepsPerEpoch; i++)
    await step.run({ rows: tensor(order.slice(i * batch, (i + 1) * batch), [batch], 'u32') })
  const losses = await step.losses()
  console.log(`epoch ${epoch}: loss ${(losses.reduce((a, b) => a + b) / losses.length).toFixed(3)}`)
}
const { accuracy } = await nn.evaluate(model, test)
console.log(`test accuracy ${(100 * accuracy).toFixed(2)} %`)
