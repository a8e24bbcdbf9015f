/** Kernels that come along with the operator functions that need them: src/graph/lower-carried.ts. */
import { expect, test } from 'vitest'
import { apply } from '../src/autograd/apply.ts'
import { resize } from '../src/autograd/ops.ts'
import { tensor } from '../src/autograd/tensor.ts'
import { useDevice } from './support/device.ts'

useDevice()

test('a node made without its function is refused until the function registers the kernels', async () => {
  const image = tensor([1, 2, 3, 4], [1, 2, 2, 1])
  const byHand = () => apply('resize', [image], { outHeight: 1, outWidth: 1 })
  await expect(byHand().data()).rejects.toMatchObject({ code: 'argument', message: expect.stringMatching(/^resize: /) })
  expect([...(await resize(image, { height: 1, width: 1 }).data())]).toEqual([2.5])
  expect([...(await byHand().data())]).toEqual([2.5])
})
