/** A saved model in a page: loaded from files, bytes and addresses, and the page of docs/library.md that classifies with it. */
import { describe, expect, it, onTestFinished } from 'vitest'
import { commands } from 'vitest/browser'
import * as weftgrad from 'weftgrad'
import { nn } from 'weftgrad'
import { useBrowserDevice } from './browser-device.ts'

const device = useBrowserDevice()

/** A model that tells light images from dark ones, as bytes. */
async function savedModel(): Promise<Uint8Array<ArrayBuffer>> {
  using model = nn.sequential('brightness', [4, 4, 1], [nn.flatten('flatten'), nn.dense('logits', 2)])
  model.setWeights(
    new Map([
      ['logits/kernel', { shape: [16, 2], data: Float32Array.from({ length: 32 }, (_, i) => (i % 2 === 0 ? -1 : 1)) }],
      ['logits/bias', { shape: [2], data: Float32Array.of(8, -8) }],
    ]),
  )
  model.to(device())
  return new Uint8Array(await nn.encodeModel(model, { classNames: ['dark', 'light'], description: { author: 'me' } }))
}

const addressOf = (bytes: Uint8Array<ArrayBuffer>): string => {
  const address = URL.createObjectURL(new Blob([bytes]))
  onTestFinished(() => URL.revokeObjectURL(address))
  return address
}

/** A picture of one grey, as a user would choose it. */
async function picture(name: string, grey: number): Promise<File> {
  const canvas = new OffscreenCanvas(8, 8)
  const context = canvas.getContext('2d')
  if (context === null) throw new Error('there is no canvas')
  context.fillStyle = `rgb(${grey} ${grey} ${grey})`
  context.fillRect(0, 0, 8, 8)
  return new File([await canvas.convertToBlob()], name)
}

describe('a page loads a model from', () => {
  it.each([
    ['a file', (bytes: Uint8Array<ArrayBuffer>) => new File([bytes], 'model.safetensors')],
    ['a blob', (bytes) => new Blob([bytes])],
    ['bytes', (bytes) => bytes],
    ['an address', addressOf],
    ['a URL', (bytes) => new URL(addressOf(bytes))],
  ] satisfies [string, (bytes: Uint8Array<ArrayBuffer>) => nn.ModelSource][])('%s', async (_, sourceOf) => {
    const { model, classNames, description } = await nn.loadModel(sourceOf(await savedModel()))
    using own = model
    expect([classNames, description]).toEqual([['dark', 'light'], { author: 'me' }])
    const [dark = 0, light = 0] = await nn.predict(own, new Float32Array(16).fill(1))
    expect([dark, light]).toEqual([-8, 8])
  })
})

describe('a page that has no model says so', () => {
  it('with the name of the file', async () => {
    const file = new File([(await savedModel()).subarray(0, 300)], 'shoes.safetensors')
    await expect(nn.loadModel(file)).rejects.toMatchObject({
      code: 'format',
      message: expect.stringContaining('shoes.safetensors'),
    })
  })

  it('with the address of weights alone, and of no file at all', async () => {
    const weights = '/test/fixtures/models/expected.safetensors'
    await expect(nn.loadModel(weights)).rejects.toMatchObject({
      code: 'mismatch',
      message: expect.stringContaining(weights),
    })
    await expect(nn.loadModel('/test/fixtures/models/none.safetensors')).rejects.toMatchObject({ code: 'fetch' })
  })

  it('for anything else', async () => {
    await expect(nn.loadModel(5 as never)).rejects.toMatchObject({ code: 'argument' })
  })
})

it('the page of docs/library.md classifies the pictures that its user chooses', async () => {
  const [, page = ''] = /^```html\n(.*?)^```$/ms.exec(await commands.readFile('docs/library.md')) ?? []
  const [, body = '', script = ''] = /^(.*)<script type="module">(.*)<\/script>/s.exec(page) ?? []
  document.body.innerHTML = body
  const code = script
    .replace(/import (\{.*\}) from 'weftgrad'/, 'const $1 = weftgrad')
    .replace("'model.safetensors'", `'${addressOf(await savedModel())}'`)
  expect(code).toContain('blob:')
  // The page is open as long as the tests: it has their device.
  const AsyncFunction = Object.getPrototypeOf(async () => undefined).constructor
  await AsyncFunction('weftgrad', code)({ ...weftgrad, open: async () => device() })

  const input = document.querySelector('input')
  const files = new DataTransfer()
  for (const [name, grey] of Object.entries({ 'b.png': 250, 'a.png': 20 })) files.items.add(await picture(name, grey))
  if (input === null) throw new Error('the page has an input')
  input.files = files.files
  input.dispatchEvent(new Event('change'))
  await expect.poll(() => document.querySelector('pre')?.textContent).toBe('a.png: dark\nb.png: light')
})
