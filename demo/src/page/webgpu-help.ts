/** Where there is no WebGPU: what is missing, and what to do about it in which browser. The rest of the page is hidden. */
import { findAny, make } from './elements.ts'

interface BrowserHelp {
  readonly name: string
  /** Of its user agent string, those before it in the list left out. */
  readonly sign: RegExp
  readonly todo: string
}

const browsers: readonly BrowserHelp[] = [
  {
    name: 'Firefox',
    sign: /Firefox\//,
    todo: 'Firefox 141 and newer has it on Windows, 145 and newer on Macs with Apple silicon. Elsewhere take Firefox Nightly, or set dom.webgpu.enabled to true in about:config.',
  },
  {
    name: 'Chrome, Edge and other Chromium browsers',
    sign: /Chrome\/|Chromium\//,
    todo: 'Version 113 and newer has it on Windows, macOS and ChromeOS, 121 and newer on Android 12. Switch on “Use graphics acceleration when available” in Settings, System. On Linux, switch on chrome://flags/#enable-unsafe-webgpu and chrome://flags/#enable-vulkan. chrome://gpu says what is in the way.',
  },
  {
    name: 'Safari',
    sign: /Safari\//,
    todo: 'Safari 26 and newer has it, on macOS, iOS and iPadOS 26. In older versions look for WebGPU under Feature Flags in the settings.',
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
        make('dt', {}, one === own ? `${one.name} (it seems you use this)` : one.name),
        make('dd', {}, one.todo),
      ),
    ),
  )
  findAny('#no-webgpu').hidden = false
  findAny('#panels').hidden = true
  findAny('#foot').hidden = true
}
