/**
 * The package as users see it: packed, installed into an empty project, type-checked, run by Node, by tsx and, bundled
 * by Vite, in a browser; its command; the build's shaders compared with those of the sources; the contents of bundles.
 */
import { readFileSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { isBuiltin } from 'node:module'
import { join, relative, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { brotliCompressSync } from 'node:zlib'
import { build, type Plugin, preview } from 'vite'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openChromium, whyNoChromium } from './support/chromium.ts'
import { type Consumer, installPackage, toolPath } from './support/consumer.ts'
import { writeBars } from './support/fashion-files.ts'
import { wgslTokens } from './support/wgsl-tokens.ts'

const sizeLimits = new URL('../.size-limit.js', import.meta.url)

/** Trains a small LeNet-5 on stripes. */
const training = `const labels = Uint8Array.from({ length: 64 }, (_, i) => i % 10)
const images = Uint8Array.from({ length: 64 * 784 }, (_, at) => ((at % 784) >> 6 === Math.floor(at / 784) % 10 ? 255 : at % 99))
const train = data.residentImages(device, { images, labels, height: 28, width: 28, channels: 1, classes: 10 })
const model = nn.lenet5({ units: [32, 16] }, { seed: 1 })
const { epochs } = await nn.fit(model, train, { optimizer: nn.adam(), epochs: 2, batchSize: 16, seed: 1 })
const losses = epochs.map(({ loss }) => loss)
`
const program = (entry: string): string => `import { data, nn, open } from '${entry}'

const device = await open()
${training}console.log(JSON.stringify(losses))
device.dispose()
`
/** The same with the entry point that its argument names; also prints the shaders. */
const shaderProgram = `const { data, nn, open } = await import(process.argv[2])
const device = await open()
const shaders = []
const compile = device.gpu.createShaderModule.bind(device.gpu)
device.gpu.createShaderModule = (shader) => {
  shaders.push({ label: shader.label, wgsl: shader.code })
  return compile(shader)
}
${training}console.log(JSON.stringify({ losses, shaders }))
`
interface ShaderReport {
  readonly losses: readonly number[]
  readonly shaders: readonly { readonly label: string; readonly wgsl: string }[]
}

const compilerOptions = { target: 'ES2022', lib: ['ES2022', 'DOM'], types: [], strict: true }
const checked = (options: object): string =>
  JSON.stringify({ compilerOptions: { ...compilerOptions, ...options }, files: ['node.ts', 'browser.ts'] })

let consumer: Consumer
beforeAll(async () => {
  consumer = await installPackage({
    'node.ts': program('weftgrad/node'),
    'browser.ts': program('weftgrad'),
    'index.html': '<!doctype html><title>weftgrad</title><script type="module" src="browser.ts"></script>',
    'shaders.mjs': shaderProgram,
    'nodenext.json': checked({ module: 'NodeNext', outDir: 'compiled' }),
    'bundler.json': checked({ module: 'Preserve', moduleResolution: 'Bundler', noEmit: true }),
  })
}, 300_000)
afterAll(() => consumer?.dispose())

describe('an installed package', () => {
  /** The program's output, run by plain Node. */
  let losses: readonly number[]

  test('type-checks in a strict program, as Node and bundlers resolve it', async () => {
    await consumer.run(toolPath('tsc'), '-p', 'nodenext.json')
    await consumer.run(toolPath('tsc'), '-p', 'bundler.json')
  })

  test('trains in plain Node', async () => {
    losses = JSON.parse(await consumer.run('node', 'compiled/node.js'))
    expect(losses).toHaveLength(2)
    expect(losses[1]).toBeLessThan(losses[0] ?? 0)
  })

  test('trains to the same bits with tsx', async () => {
    expect(JSON.parse(await consumer.run(toolPath('tsx'), 'node.ts'))).toEqual(losses)
  })

  test('trains to the same numbers in a browser, bundled by Vite', async ({ skip }) => {
    const reason = await whyNoChromium()
    if (reason !== undefined) return skip(reason)
    const { folder: root } = consumer
    await build({ root, logLevel: 'error', build: { target: 'es2022' } })
    const server = await preview({ root, logLevel: 'error', preview: { host: '127.0.0.1', port: 0 } })
    const browser = await openChromium({ webgpu: true })
    try {
      const page = await browser.newPage()
      const said = page.waitForEvent('console', { timeout: 60_000 })
      const failed = page.waitForEvent('pageerror', { timeout: 60_000 }).then((error) => {
        throw error
      })
      await page.goto(server.resolvedUrls?.local[0] ?? '')
      const found: number[] = JSON.parse((await Promise.race([said, failed])).text())
      expect(found).toHaveLength(2)
      for (const [i, loss] of losses.entries()) expect(Math.abs((found[i] ?? 0) / loss - 1)).toBeLessThan(1e-4)
    } finally {
      await browser.close()
      await server.close()
    }
  })

  test('contains the command', async () => {
    const { version } = JSON.parse(readFileSync('package.json', 'utf8'))
    expect((await weftgrad('--version')).trim()).toBe(version)
    expect(await weftgrad('doctor')).toContain(process.version)
    await expect(weftgrad('bench')).rejects.toThrow('The published package has no benchmarks')
  })

  test('trains with the command, with plots and the version in the run folder', async () => {
    const images = await writeBars(join(consumer.folder, 'bars'), 100, 40)
    await weftgrad('train', 'lenet', '--data-dir', images, '--epochs', '1', '--out', 'run')
    const files = await readdir(join(consumer.folder, 'run'))
    expect(files).toEqual(expect.arrayContaining(['config.json', 'curves.svg', 'model.safetensors', 'predictions.csv']))
    expect(readFileSync(join(consumer.folder, 'run/config.json'), 'utf8')).toContain('"weftgrad": "0.')
  })

  test.each(['lenet5.h5', 'tfjs-layers-uint8'])(
    'converts weights with the packages it loads late: %s',
    async (name) => {
      await weftgrad('convert', resolve('test/fixtures/models', name), `${name}.safetensors`)
      expect(readFileSync(join(consumer.folder, `${name}.safetensors`)).length).toBeGreaterThan(400_000)
    },
  )

  const weftgrad = (...args: string[]): Promise<string> => consumer.run('npx', '--no-install', 'weftgrad', ...args)
})

describe('the WGSL of the build', () => {
  test('has the tokens of the sources in every kernel of a training, computes the same bits, and is shorter', async () => {
    const source = pathToFileURL(resolve('src/node.ts')).href
    const built: ShaderReport = JSON.parse(await consumer.run('node', 'shaders.mjs', 'weftgrad/node'))
    const readable: ShaderReport = JSON.parse(await consumer.run(toolPath('tsx'), 'shaders.mjs', source))
    expect(built.losses).toEqual(readable.losses)
    expect(built.shaders.length).toBeGreaterThan(10)
    expect(built.shaders.map(({ label }) => label)).toEqual(readable.shaders.map(({ label }) => label))
    const lengthOf = (text: string): number => text.length
    for (const [i, { label, wgsl }] of built.shaders.entries()) {
      const original = readable.shaders[i]?.wgsl ?? ''
      expect(wgslTokens(wgsl), label).toEqual(wgslTokens(original))
      expect(lengthOf(wgsl), label).toBeLessThan(lengthOf(original))
    }
  })
})

describe('a bundle', () => {
  test('of everything portable imports no Node.js module', async () => {
    const { reached, builtins } = await bundleOf(`import * as all from 'weftgrad'; console.log(all)`)
    expect(reached).toContain('nn/fit.js')
    expect(reached.filter((id) => id.includes('.node.') || id.startsWith('gpu/node/'))).toEqual([])
    // Two packages check where they run, and their package.json tells browser bundlers to leave those modules out.
    expect(builtins.filter((by) => !/\/node_modules\/(@tensorflow|seedrandom)\//.test(by))).toEqual([])
  })

  test('of a program that trains LeNet-5 contains no other network, no weight file reader and no unused kernel', async () => {
    const { held, bytes } = await bundleOf(`import { data, nn, open } from 'weftgrad'
      console.log(open, nn.lenet5, nn.fit, nn.adam, data.residentImages, data.parseFashionMnist)`)
    expect(held).toEqual(expect.arrayContaining(['nn/models/lenet5.js', 'nn/fit.js', 'kernels/conv2d/conv2d.js']))
    const foreign = /vgg16|xception|resnet|hdf5|tensorflowjs|safetensors|keras|zoo|zip|depthwise|resize|node_modules/
    expect(held.filter((file) => foreign.test(file))).toEqual([])
    // The first limit is this program's: see `npm run size`.
    const limit = /limit: '([\d.]+) kB'/.exec(readFileSync(sizeLimits, 'utf8'))?.[1]
    expect(bytes).toBeLessThan(1000 * Number(limit))
  })

  test.each(['vgg16', 'xception', 'resnet152v2'])('of %s contains no other network', async (name) => {
    const { held } = await bundleOf(`import { ${name} } from 'weftgrad/nn'; console.log(${name})`)
    const networks = held.filter((file) => /^nn\/models\/(?!pretrained-options)/.test(file))
    expect(networks).toEqual([`nn/models/${name}.js`])
  })
})

interface Bundle {
  /** The modules that were reached; the package's own by their position in its build. */
  readonly reached: readonly string[]
  /** The modules that import a Node module. */
  readonly builtins: readonly string[]
  /** The modules with code left in the bundle. */
  readonly held: readonly string[]
  /** Minified and compressed with brotli, all chunks together. */
  readonly bytes: number
}

/** Bundles a program for browsers with Vite in the consumer's project. */
async function bundleOf(code: string): Promise<Bundle> {
  const dist = join(consumer.folder, 'node_modules/weftgrad/dist')
  const placeOf = (id: string): string => (id.startsWith(dist) ? relative(dist, id) : id)
  const entry = join(consumer.folder, 'entry.js')
  const reached: string[] = []
  const builtins: string[] = []
  const watch: Plugin = {
    name: 'watch',
    enforce: 'pre',
    resolveId: (id, importer = '') => {
      if (isBuiltin(id)) builtins.push(placeOf(importer))
      return id === entry ? id : undefined
    },
    load: (id) => (id === entry ? code : undefined),
    moduleParsed: ({ id }) => {
      reached.push(placeOf(id))
    },
  }
  const output = await build({
    root: consumer.folder,
    configFile: false,
    logLevel: 'error',
    plugins: [watch],
    build: { write: false, target: 'es2022', rolldownOptions: { input: entry } },
  })
  const chunks = [output].flat().flatMap((one) => ('output' in one ? one.output : []))
  const codes = chunks.filter((chunk) => chunk.type === 'chunk')
  return {
    reached,
    builtins,
    held: codes.flatMap((chunk) =>
      Object.entries(chunk.modules).flatMap(([id, { renderedLength }]) => (renderedLength > 0 ? placeOf(id) : [])),
    ),
    bytes: codes.reduce((sum, chunk) => sum + brotliCompressSync(chunk.code).length, 0),
  }
}
