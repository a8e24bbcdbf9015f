/**
 * Takes the pictures of the demo in docs/ in a real Chromium, after a training: the whole page, and its top for the README.
 *
 *     node --import ./scripts/tsx.mjs scripts/demo-screenshots.ts
 */
import { writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import type { Page } from 'playwright'
import { decodePng } from '../src/format/png.ts'
import { openChromium } from '../test/support/chromium.ts'
import { hostDemo } from '../test/support/demo.ts'
import { encodePalettePng } from './palette-png.ts'

const docs = fileURLToPath(new URL('../docs/', import.meta.url))
/** Bytes. Larger pictures make the repository heavy, and a README slow to load. */
const largest = 250_000
const patience = 900_000

const demo = await hostDemo()
const browser = await openChromium({ webgpu: true })
try {
  const page = await browser.newPage({ viewport: { width: 1440, height: 900 } })
  page.setDefaultTimeout(patience)
  await page.goto(demo.url)
  await page.locator('#bars .best').waitFor()
  await page.fill('#epochs', '8')
  await page.click('#train-main')
  await page.locator('#train-status').filter({ hasText: 'Finished.' }).waitFor()
  await drawTrousers(page)
  await page.locator('#answer-note').filter({ hasText: 'Your drawing' }).waitFor()
  await settle(page)
  await page.evaluate(() => {
    ;(document.activeElement as HTMLElement | null)?.blur()
    scrollTo(0, 0)
  })
  await page.mouse.move(0, 0)
  await save('demo', await page.screenshot({ fullPage: true, timeout: patience }))
  const train = await page.locator('#train').boundingBox()
  if (train === null) throw new Error('The training panel is not visible.')
  const clip = { x: 0, y: 0, width: 1440, height: Math.ceil(train.y + train.height) + 16 }
  await save('demo-training', await page.screenshot({ fullPage: true, clip, timeout: patience }))
} finally {
  await browser.close()
  await demo.close()
}

async function save(name: string, shot: Uint8Array): Promise<void> {
  const png = encodePalettePng(decodePng(shot))
  if (png.length > largest) throw new Error(`docs/${name}.png has ${png.length} bytes; the limit is ${largest}.`)
  await writeFile(`${docs}${name}.png`, png)
  console.log(`docs/${name}.png: ${png.length} bytes`)
}

/** Waits until charts, drawings and colours show the current state. */
async function settle(page: Page): Promise<void> {
  await page.waitForTimeout(3000)
}

async function drawTrousers(page: Page): Promise<void> {
  await page.locator('#pad').scrollIntoViewIfNeeded()
  const box = await page.locator('#pad').boundingBox()
  if (box === null) throw new Error('The drawing pad is not visible.')
  const outline = [
    [0.38, 0.08],
    [0.6, 0.08],
    [0.66, 0.92],
    [0.57, 0.92],
    [0.49, 0.24],
    [0.4, 0.92],
    [0.31, 0.92],
    [0.38, 0.08],
  ] as const
  for (const [i, [x, y]] of outline.entries()) {
    await page.mouse.move(box.x + x * box.width, box.y + y * box.height, { steps: 4 })
    if (i === 0) await page.mouse.down()
  }
  await page.mouse.up()
}
