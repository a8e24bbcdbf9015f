/** The browser demo, built and clicked through end to end in a real Chromium whose WebGPU is a software one. */
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import type { Browser, Page } from 'playwright'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Session } from '../demo/src/session.ts'
import { openAnywhere } from '../src/weights/open.node.ts'
import { axeViolations } from './support/axe.ts'
import { openChromium, whyNoChromium } from './support/chromium.ts'
import { drop, type HostedDemo, hostDemo, problemsOf, setVisibility } from './support/demo.ts'

const reason = await whyNoChromium()
if (reason !== undefined) console.warn(reason)

const lenet = fileURLToPath(new URL('fixtures/models/lenet5.h5', import.meta.url))
/** In milliseconds. A software GPU on a busy machine takes its time. */
const patience = 240_000

const textOf = (page: Page, selector: string): Promise<string> => page.locator(selector).innerText()
const waitForText = async (page: Page, selector: string, text: string | RegExp): Promise<void> =>
  page.locator(selector).filter({ hasText: text }).waitFor({ timeout: patience })
const progressOf = (page: Page): Promise<number> =>
  page.locator('#train-progress').evaluate((bar) => (bar as HTMLProgressElement).value)
const probabilitiesOf = (page: Page): Promise<number[]> =>
  page.locator('#bars [role=meter]').evaluateAll((bars) => bars.map((bar) => Number(bar.getAttribute('aria-valuenow'))))
const destroyDevice = (page: Page): Promise<void> =>
  page.evaluate(() => (globalThis as unknown as { weftgradSession: Session }).weftgradSession.destroyDevice())

describe.skipIf(reason !== undefined)('the demo in Chromium', { timeout: 600_000 }, () => {
  let demo: HostedDemo
  let browser: Browser
  let page: Page
  let problems: string[]

  beforeAll(async () => {
    demo = await hostDemo()
    browser = await openChromium({ webgpu: true })
    page = await browser.newPage({ viewport: { width: 1280, height: 900 } })
    page.setDefaultTimeout(patience)
    problems = problemsOf(page, demo.url)
    await page.addInitScript(() => {
      const tasks: number[] = []
      Object.assign(globalThis, { longTasks: tasks })
      new PerformanceObserver((list) => {
        for (const { duration } of list.getEntries()) tasks.push(Math.round(duration))
      }).observe({ type: 'longtask', buffered: true })
    })
    await page.goto(demo.url)
  })

  afterAll(async () => {
    await browser?.close()
    await demo?.close()
  })

  it('starts with the sample, and shows which device computes', async () => {
    await waitForText(page, '#data-facts', '2,000 images')
    expect(await textOf(page, '#adapter')).toMatch(/^Running on CPU \(.*swiftshader.*, software\)$/i)
    expect(await textOf(page, '#data-facts')).toMatch(/500 images[\s\S]*10: T-shirt\/top, Trouser/)
    expect(await page.locator('#data-samples canvas').count()).toBeGreaterThanOrEqual(10)
    expect(await page.locator('#use-sample').getAttribute('aria-pressed')).toBe('true')
    await waitForText(page, '#answer-note', 'The model is untrained, so this is a guess.')
    expect(await page.locator('#kernels canvas').count()).toBe(6)
  })

  it('refuses invalid settings, beside their fields', async () => {
    await page.fill('#batch-size', '0')
    await page.click('#train-main')
    await waitForText(page, '#train-refusal [role=alert]', 'The batch size must be a whole number from 1 to 1024.')
    expect(await page.evaluate(() => document.activeElement?.id)).toBe('batch-size')
    expect(await textOf(page, '#train-status')).toBe('Ready.')
  })

  it('trains, pauses, resumes with another learning rate, and fills the confusion matrix', async () => {
    await page.fill('#epochs', '2')
    await page.fill('#batch-size', '16')
    await page.click('#train-main')
    await page.getByRole('button', { name: 'Pause', exact: true }).click()
    await waitForText(page, '#train-status', 'Paused. Nothing is lost.')
    expect(await page.locator('#train-refusal').isHidden()).toBe(true)
    const paused = await progressOf(page)
    expect(paused).toBeLessThan(1)

    await page.fill('#learning-rate', '0.002')
    await page.locator('#learning-rate').press('Tab')
    await waitForText(page, '#announcer', 'Learning rate 0.002')
    await page.getByRole('button', { name: 'Resume', exact: true }).click()
    await waitForText(page, '#train-status', 'Finished.')
    expect(await progressOf(page)).toBe(1)

    await waitForText(page, '.matrix caption', /After epoch 2: \d+ of 500 validation images classified correctly\./)
    const cells = await page
      .locator('.matrix tbody td')
      .evaluateAll((all) => all.map((cell) => Number(cell.textContent)))
    expect(cells).toHaveLength(100)
    expect(cells.reduce((sum, count) => sum + count, 0)).toBe(500)
    const right = cells.filter((_, i) => i % 11 === 0).reduce((sum, count) => sum + count, 0)
    expect(right).toBeGreaterThan(250)
    for (const curve of ['#loss-curve', '#accuracy-curve'])
      await page.locator(`${curve} svg[aria-label*="after epoch 2 training"]`).waitFor()
  })

  it('classifies a drawing when the pen is lifted', async () => {
    await page.locator('#pad').scrollIntoViewIfNeeded()
    const box = await page.locator('#pad').boundingBox()
    if (box === null) throw new Error('The pad is not visible.')
    const at = (x: number, y: number) => [box.x + x * box.width, box.y + y * box.height] as const
    await page.mouse.move(...at(0.3, 0.15))
    await page.mouse.down()
    for (const [x, y] of [
      [0.7, 0.15],
      [0.65, 0.9],
      [0.55, 0.9],
      [0.5, 0.35],
      [0.45, 0.9],
      [0.35, 0.9],
    ] as const)
      await page.mouse.move(...at(x, y), { steps: 3 })
    await page.mouse.up()
    await waitForText(page, '#answer-note', 'Your drawing. Prediction of the current model.')
    const probabilities = await probabilitiesOf(page)
    expect(probabilities).toHaveLength(10)
    expect(probabilities.reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 2)
    expect(await textOf(page, '#answer')).toMatch(/^[A-Z][\w\-/ ]+, \d+\.\d\s%$/)
  })

  it('classifies a picture, and refuses a file that is not one', async () => {
    const png = await page.evaluate(() => {
      const canvas = Object.assign(document.createElement('canvas'), { width: 60, height: 90 })
      const context = canvas.getContext('2d')
      context?.fillRect(20, 10, 20, 70)
      return canvas.toDataURL().split(',')[1] ?? ''
    })
    expect(
      await drop(page, '#picture-drop', [
        { name: 'dark.png', type: 'image/png', bytes: Uint8Array.from(Buffer.from(png, 'base64')) },
      ]),
    ).toBe(true)
    await waitForText(page, '#answer-note', 'dark.png. Prediction')
    const answer = await textOf(page, '#answer')
    await drop(page, '#picture-drop', [{ name: 'none.png', type: 'image/png', bytes: Uint8Array.of(1, 2, 3) }])
    await waitForText(page, '#try-refusal [role=alert]', 'This browser cannot read none.png as an image.')
    expect(await textOf(page, '#answer')).toBe(answer)
  })

  it('loads a Keras model, saves it as safetensors, and loads that with the same predictions', async () => {
    const firstKernel = () => page.locator('#kernels canvas').first().ariaSnapshot()
    const earlier = await firstKernel()
    await page.setInputFiles('#model-file', lenet)
    await waitForText(page, '#model-source', 'lenet5.h5')
    expect(await page.locator('#layers tr').count()).toBeGreaterThanOrEqual(7)
    await page.locator('#try-samples button').first().click()
    await waitForText(page, '#answer-note', 'Example: T-shirt/top. Prediction of the current model.')
    // It is drawn with some delay.
    await expect.poll(firstKernel, { timeout: patience }).not.toBe(earlier)
    const [answer, kernel] = [await probabilitiesOf(page), await firstKernel()]

    const [download] = await Promise.all([page.waitForEvent('download'), page.click('#model-save-safetensors')])
    expect(download.suggestedFilename()).toBe('weftgrad-lenet5.safetensors')
    const bytes = await readFile(await download.path())
    const [archive] = await Promise.all([page.waitForEvent('download'), page.click('#model-save-keras')])
    expect(archive.suggestedFilename()).toBe('weftgrad-lenet5.keras')
    const file = await openAnywhere(await readFile(await archive.path()))
    expect(file).toMatchObject({ format: 'keras-archive', architecture: { class_name: 'Functional' } })
    file.close()
    await page.click('#train-main')
    await page.getByRole('button', { name: 'Pause', exact: true }).click()
    await waitForText(page, '#model-source', 'from training')

    // Dropped outside all zones: its kind decides where it goes.
    expect(await drop(page, 'header', [{ name: 'back.safetensors', bytes }])).toBe(true)
    await waitForText(page, '#model-source', 'back.safetensors')
    await expect.poll(() => probabilitiesOf(page), { timeout: patience }).toEqual(answer)
    await expect.poll(firstKernel, { timeout: patience }).toBe(kernel)
  })

  it('refuses damaged files in place, and changes nothing', async () => {
    const before = await textOf(page, '#model-source')
    const facts = await textOf(page, '#data-facts')
    const damaged = (await readFile(lenet)).subarray(0, 5000)
    await drop(page, '#model-drop', [{ name: 'damaged.h5', bytes: damaged }])
    await waitForText(page, '#model-refusal [role=alert]', 'damaged.h5')
    await drop(page, '#data-drop', [{ name: 'train-images-idx3-ubyte', bytes: Uint8Array.of(0, 0, 8, 3, 0, 0) }])
    await waitForText(page, '#data-refusal [role=alert]', 'train-images-idx3-ubyte')
    await drop(page, '#vgg16-drop', [{ name: 'small.h5', bytes: damaged }])
    await waitForText(page, '#photo-refusal [role=alert]', 'small.h5')
    expect(await drop(page, 'footer', [{ name: 'letter.txt', bytes: Uint8Array.of(65) }])).toBe(true)
    await waitForText(page, '#page-refusal [role=alert]', 'This page cannot use letter.txt.')
    expect(await textOf(page, '#model-source')).toBe(before)
    expect(await textOf(page, '#data-facts')).toBe(facts)
    // They can also be closed by hand.
    for (const place of ['#model-refusal', '#data-refusal', '#photo-refusal', '#page-refusal'])
      await page.locator(`${place} button`).click()
    expect(await page.locator('[role=alert]:visible').count()).toBe(0)
  })

  it('can be used with the keyboard alone', async () => {
    await page.fill('#epochs', '100')
    await page.fill('#batch-size', '32')
    // The Tab key starts at the top of the page.
    await page.evaluate(() => {
      document.documentElement.tabIndex = -1
      document.documentElement.focus()
      document.documentElement.removeAttribute('tabindex')
    })
    await page.keyboard.press('Tab')
    expect(await page.evaluate(() => document.activeElement?.className)).toBe('skip')
    await page.keyboard.press('Enter')
    const reached = new Set<string>()
    const step = async (until: string): Promise<void> => {
      for (let i = 0; i < 60; i++) {
        await page.keyboard.press('Tab')
        const id = await page.evaluate(() => document.activeElement?.id ?? '')
        reached.add(id)
        if (id === until) return
      }
      throw new Error(`#${until} is not reached by the Tab key.`)
    }
    await step('train-main')
    expect([...reached]).toEqual(expect.arrayContaining(['use-sample', 'data-files', 'epochs', 'learning-rate']))
    await page.keyboard.press('Enter')
    await page.getByRole('button', { name: 'Pause', exact: true }).waitFor()
    expect(await page.evaluate(() => document.activeElement?.id)).toBe('train-main')
    await step('pad-clear')
    for (let i = 0; i < 3; i++) await page.keyboard.press('Tab')
    await page.keyboard.press('Enter')
    await waitForText(page, '#answer-note', 'Example: T-shirt/top')
    await step('picture-file')
    await step('model-file')
    await step('model-save-safetensors')
    await step('model-save-keras')
  })

  it('pauses while its tab is hidden, and resumes automatically', async () => {
    await setVisibility(page, 'hidden')
    await waitForText(page, '#train-status', 'Paused while this tab is hidden.')
    await setVisibility(page, 'visible')
    await waitForText(page, '#train-status', 'Training: step')
    expect(await textOf(page, '#train-main')).toBe('Pause')
  })

  it('reports a lost GPU, and continues training on another one', async () => {
    await destroyDevice(page)
    await waitForText(page, '#device-banner', 'The GPU was lost and is back. Training is paused.')
    await page.locator('#device-resume').click()
    await waitForText(page, '#train-status', 'Training: step')
    expect(await page.locator('#device-banner').isHidden()).toBe(true)
    await page.getByRole('button', { name: 'Pause', exact: true }).click()
    await waitForText(page, '#train-status', 'Paused.')
    // Wall-clock time, which other programs delay: shown, not asserted. scripts/demo-responsiveness.ts measures it.
    console.log(
      'longest tasks, ms:',
      await page.evaluate(() => (globalThis as unknown as { longTasks: number[] }).longTasks),
    )
  })

  for (const colorScheme of ['light', 'dark'] as const)
    for (const width of [390, 1600])
      it(`is legible in the middle of training, ${colorScheme} and ${width} pixels wide`, async () => {
        await page.emulateMedia({ colorScheme })
        await page.setViewportSize({ width, height: 900 })
        // The charts follow the width.
        await page.waitForTimeout(1000)
        expect(
          await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth),
        ).toBe(0)
        expect(await axeViolations(page)).toEqual([])
      })

  it('causes no errors and loads only its own files', async () => {
    expect(problems).toEqual([])
  })

  it('says what to do in a browser without WebGPU', async () => {
    const context = await browser.newContext({ viewport: { width: 390, height: 800 } })
    const bare = await context.newPage()
    const bareProblems = problemsOf(bare, demo.url)
    await bare.addInitScript('delete Navigator.prototype.gpu')
    await bare.goto(demo.url)
    await waitForText(bare, '#no-webgpu', 'This browser has no WebGPU')
    expect(await textOf(bare, '#no-webgpu')).toMatch(/\(your browser\)[\s\S]*chrome:\/\/gpu[\s\S]*Firefox[\s\S]*Safari/)
    expect(await bare.locator('#panels').isHidden()).toBe(true)
    expect(await axeViolations(bare)).toEqual([])
    expect(bareProblems).toEqual([])
    await context.close()
  })

  it('says what to do if a browser with WebGPU has no adapter', async () => {
    const plain = await openChromium()
    try {
      const bare = await plain.newPage()
      await bare.goto(demo.url)
      await waitForText(bare, '#no-webgpu-reason', /WebGPU/)
      expect(await bare.locator('#panels').isHidden()).toBe(true)
    } finally {
      await plain.close()
    }
  })
})
