/** The demo as users see it: built by its own command, served from a folder, opened in a real Chromium. */
import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Page } from 'playwright'
import { serveFolder } from './static-server.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

export interface HostedDemo {
  readonly url: string
  readonly folder: string
  close(): Promise<void>
}

export async function hostDemo(): Promise<HostedDemo> {
  const folder = await mkdtemp(join(tmpdir(), 'weftgrad-demo-'))
  const { NODE_ENV: _, ...env } = process.env
  const vite = join(root, 'node_modules', 'vite', 'bin', 'vite.js')
  await promisify(execFile)(process.execPath, [vite, 'build', 'demo', '--outDir', folder, '--emptyOutDir'], {
    cwd: root,
    env,
  })
  const { url, close } = await serveFolder(folder)
  return {
    url,
    folder,
    close: async () => {
      await close()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** Unexpected events on a page: errors, and requests to other addresses. */
export function problemsOf(page: Page, url: string): string[] {
  const problems: string[] = []
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') problems.push(message.text())
  })
  page.on('pageerror', (error) => problems.push(error.message))
  page.on('request', (request) => {
    if (!request.url().startsWith(url) && !/^(blob|data):/.test(request.url())) problems.push(request.url())
  })
  return problems
}

/** Drops files on an element. Returns whether the page took them; the browser would have opened them otherwise. */
export async function drop(
  page: Page,
  selector: string,
  files: readonly { readonly name: string; readonly bytes: Uint8Array; readonly type?: string }[],
): Promise<boolean> {
  return await page.evaluate(
    ({ selector, files }) => {
      const dataTransfer = new DataTransfer()
      for (const { name, base64, type } of files) {
        const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))
        dataTransfer.items.add(new File([bytes], name, { type }))
      }
      const event = new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true })
      return document.querySelector(selector)?.dispatchEvent(event) === false
    },
    {
      selector,
      files: files.map(({ name, bytes, type = '' }) => ({
        name,
        base64: Buffer.from(bytes).toString('base64'),
        type,
      })),
    },
  )
}

/** Simulates that the tab is hidden, or shown again. */
export async function setVisibility(page: Page, state: 'hidden' | 'visible'): Promise<void> {
  await page.evaluate((state) => {
    Object.defineProperty(document, 'visibilityState', { configurable: true, get: () => state })
    document.dispatchEvent(new Event('visibilitychange'))
  }, state)
}
