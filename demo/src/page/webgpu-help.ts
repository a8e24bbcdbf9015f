/** Says what to do in each browser when there is no WebGPU, and hides the rest of the page. */
import { findAny, make } from './elements.ts'

interface BrowserHelp {
  readonly name: string
  /** Matches its user agent string, unless an earlier entry does. */
  readonly sign: RegExp
  readonly todo: string
}

const browsers: readonly BrowserHelp[] = [
  {
    name: 'Firefox',
    sign: /Firefox\//,
    todo: 'Available in Firefox 141 and newer on Windows, and 145 and newer on Macs with Apple silicon. Elsewhere use Firefox Nightly, or set dom.webgpu.enabled to true in about:config.',
  },
  {
    name: 'Chrome, Edge and other Chromium browsers',
    sign: /Chrome\/|Chromium\//,
    todo: 'Available in version 113 and newer on Windows, macOS and ChromeOS, and 121 and newer on Android 12. Turn on “Use graphics acceleration when available” in Settings, System. On Linux, also enable chrome://flags/#enable-unsafe-webgpu and chrome://flags/#enable-vulkan. chrome://gpu shows what is blocked and why.',
  },
  {
    name: 'Safari',
    sign: /Safari\//,
    todo: 'Available in Safari 26 and newer, on macOS, iOS and iPadOS 26. In older versions look for WebGPU under Feature Flags in the settings.',
  },
]

export function showWebGpuHelp(reason: string): void {
  const own = browsers.find(({ sign }) => sign.test(navigator.userAgent))
  const ordered = [...browsers].sort((a, b) => Number(b === own) - Number(a === own))
  findAny('#no-webgpu-reason').textContent = reason
  findAny('#no-webgpu-browsers').replaceChildren(
    ...ordered.map((one) =>
      make(
        'div',
        one === own ? { class: 'own' } : {},
        make('dt', {}, one === own ? `${one.name} (your browser)` : one.name),
        make('dd', {}, one.todo),
      ),
    ),
  )
  findAny('#no-webgpu').hidden = false
  findAny('#panels').hidden = true
  findAny('#foot').hidden = true
}
