/** A real Chromium for pages without a network: the system's own, or the one of an npm package that unpacks itself. */
import { existsSync } from 'node:fs'
import chromium from '@sparticuz/chromium'
import { type Browser, chromium as driver } from 'playwright-core'

const own = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']

export async function openChromium(): Promise<Browser> {
  const found = own.find((path) => existsSync(path))
  // The package's own arguments are for a single page of a single process.
  return await driver.launch({
    executablePath: found ?? (await chromium.executablePath()),
    args: ['--no-sandbox', '--disable-gpu'],
  })
}
