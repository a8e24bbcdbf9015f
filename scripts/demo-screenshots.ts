/**
 * The pictures of the demo in docs/, taken in a real Chromium: idle, in the middle of training, and trained; wide and
 * narrow, light and dark.
 *
 *     node --import ./scripts/tsx.mjs scripts/demo-screenshots.ts
 *
 * The page is as tall as it is; of the narrow one, which is long, what a reader looks at in that state.
 */
import { writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import type { Page } from 'playwright'
import { decodePng } from '../src/format/png.ts'
import { openChromium } from '../test/support/chromium.ts'
import { hostDemo } from '../test/support/demo.ts'
import { encodePalettePng } from './palette-png.ts'

const docs = fileURLToPath(new URL('../docs/', import.meta.url))
/** Bytes. Larger ones make the repository heavy, and a README slow to load. */
const largest = 250_000
const patience = 900_000

const wide = { width: 1440, height: 900 }
const narrow = { width: 390, height: 844 }

const demo = await hostDemo()
const browser = await openChromium({ webgpu: true })
try {
  const page = await browser.newPage({ viewport: wide })
  page.setDefaultTimeout(patience)
  await page.goto(demo.url)
  await page.locator('#bars .best').waitFor()
  await settle(page)
  await bothWidths(page, 'idle', 'data')

  await page.fill('#epochs', '8')
  await page.click('#train-main')
  await page.locator('.matrix caption').filter({ hasText: 'After epoch 3' }).waitFor()
  // The picture holds still, and looks as it does while it trains.
  await page.locator('#train-main').click()
  await page.locator('#train-status').filter({ hasText: 'Paused' }).waitFor()
  await settle(page)
  await bothWidths(page, 'training', 'train')
  await page.emulateMedia({ colorScheme: 'dark' })
  await settle(page)
  await shoot(page, 'training-wide-dark')
  await page.emulateMedia({ colorScheme: 'light' })
  await settle(page)

  await page.locator('#train-main').click()
  await page.locator('#train-status').filter({ hasText: 'Finished.' }).waitFor()
  await drawTrousers(page)
  await page.locator('#answer-note').filter({ hasText: 'your drawing' }).waitFor()
  await settle(page)
  await bothWidths(page, 'trained', 'try')
} finally {
  await browser.close()
  await demo.close()
}

/** @param panel of the narrow page, what is in the picture. */
async function bothWidths(page: Page, state: string, panel: string): Promise<void> {
  await shoot(page, `${state}-wide`)
  await page.setViewportSize(narrow)
  await settle(page)
  await shoot(page, `${state}-narrow`, `#${panel}`)
  await page.setViewportSize(wide)
  await settle(page)
}

async function shoot(page: Page, name: string, panel?: string): Promise<void> {
  await page.evaluate(() => {
    ;(document.activeElement as HTMLElement | null)?.blur()
    scrollTo(0, 0)
  })
  await page.mouse.move(0, 0)
  const shot =
    panel === undefined
      ? await page.screenshot({ fullPage: true, timeout: patience })
      : await page.locator(panel).screenshot({ timeout: patience })
  const png = encodePalettePng(decodePng(shot))
  if (png.length > largest) throw new Error(`docs/demo-${name}.png has ${png.length} bytes; ${largest} is the limit.`)
  await writeFile(`${docs}demo-${name}.png`, png)
  console.log(`docs/demo-${name}.png: ${png.length} bytes`)
}

/** Charts, drawings and colours follow the page's width and state within a second. */
async function settle(page: Page): Promise<void> {
  await page.waitForTimeout(3000)
}

async function drawTrousers(page: Page): Promise<void> {
  await page.locator('#pad').scrollIntoViewIfNeeded()
  const box = await page.locator('#pad').boundingBox()
  if (box === null) throw new Error('The drawing pad is not to be seen.')
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
