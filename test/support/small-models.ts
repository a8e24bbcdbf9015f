/** Models for the images of pictures.ts. */
import { nn } from '../../src/index.ts'
import type { Model } from '../../src/nn/model.ts'
import { classes, side } from './pictures.ts'

/** A convolution and two dense layers. */
export function plainModel(seed = 1): Model {
  return nn.sequential(
    'plain',
    [side, side, 1],
    [
      nn.conv2d('conv', 4, 3, { activation: 'relu' }),
      nn.maxPooling2d('pool'),
      nn.flatten('flatten'),
      nn.dense('hidden', 8, { activation: 'relu' }),
      nn.dense('logits', classes),
    ],
    { seed },
  )
}

/** A model whose steps depend on more than weights and images: on random masks and moving statistics. */
export function restlessModel(seed = 1): Model {
  return nn.sequential(
    'restless',
    [side, side, 1],
    [
      nn.conv2d('conv', 4, 3, { useBias: false }),
      nn.batchNormalization('norm', { momentum: 0.8 }),
      nn.activation('relu', 'relu'),
      nn.dropout('drop', 0.3),
      nn.flatten('flatten'),
      nn.dense('hidden', 8, { activation: 'tanh' }),
      nn.dropout('drop again', 0.2),
      nn.dense('logits', classes),
    ],
    { seed },
  )
}
