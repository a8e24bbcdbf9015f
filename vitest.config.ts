import { fileURLToPath } from 'node:url'
import { playwright } from '@vitest/browser-playwright'
import { defineConfig, type TestProjectInlineConfiguration } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'
import { nodeCommands } from './test/browser/node-commands.ts'
import { chromiumLaunch, whyNoChromium } from './test/support/chromium.ts'

const source = (path: string): string => fileURLToPath(new URL(`src/${path}`, import.meta.url))
/** As in tsconfig.json. */
const alias = [
  { find: /^weftgrad$/, replacement: source('index.ts') },
  { find: /^weftgrad\/node$/, replacement: source('node.ts') },
]
const browserTests = 'test/browser/**/*.test.ts'

/** Files that compile a thousand kernels and run each on a few numbers. */
const kernelTests = [
  'test/operators{,-second-order}.test.ts',
  'test/kernels-*.test.ts',
  'test/long-sums-*.test.ts',
  'test/properties.test.ts',
  'test/activations.test.ts',
]

interface InNode {
  readonly name: string
  readonly include: readonly string[]
  readonly exclude: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

function inNode({ name, include, exclude, env = {} }: InNode): TestProjectInlineConfiguration {
  return {
    resolve: { alias },
    test: {
      name,
      include: [...include],
      exclude: [...exclude],
      allowOnly: false,
      // Native code does not see a worker thread's environment. Two files at once: a driver on the CPU compiles a device's
      // shaders one after the other, on one core, and most other work of the tests takes one core too.
      pool: 'forks',
      maxWorkers: 2,
      // Kernels by their families' preferences: what is measured differs from run to run. The cache of tsx, see
      // scripts/tsx.mjs.
      env: { WEFTGRAD_TUNE: '0', TSX_DISABLE_CACHE: '1', ...env },
      testTimeout: 120_000,
      hookTimeout: 600_000,
      // After the browser's: the one process of Node.js there fetches what is missing before two would at once.
      sequence: { groupOrder: 1 },
    },
  }
}

/**
 * Compiling is most of a first run of the kernels' tests. There lavapipe leaves out LLVM's optimisation passes, which
 * halves it; it keeps such code apart from other code in its cache. All other tests, and these in `npm run test:full`,
 * run the code that users run.
 */
const isFull = process.env.WEFTGRAD_TEST_FULL === '1'
const unoptimised = isFull ? {} : { GALLIVM_PERF: 'nopt' }

/**
 * In `npm run test:full`, all cases and variants also run with subgroups of 4 and 16 lanes: lavapipe makes them as wide as its
 * vectors, 8 by default here. No kernel may rely on a width.
 */
const otherLanes = (isFull ? [4, 16] : []).map((lanes) =>
  inNode({
    name: `${lanes} lanes`,
    include: ['test/operators.test.ts'],
    exclude: [],
    env: { LP_NATIVE_VECTOR_WIDTH: String(32 * lanes), WEFTGRAD_TEST_LANES: String(lanes), GALLIVM_PERF: 'nopt' },
  }),
)

const projectsInNode = [
  ...otherLanes,
  inNode({ name: 'kernels', include: kernelTests, exclude: [browserTests], env: unoptimised }),
  inNode({ name: 'node', include: ['test/**/*.test.ts'], exclude: [browserTests, ...kernelTests] }),
]

/** The same sources in a page of a real browser; see test/support/chromium.ts. */
async function browser(): Promise<TestProjectInlineConfiguration> {
  return {
    resolve: { alias },
    // Found while tests run, packages would make the page load again.
    optimizeDeps: {
      include: [
        'comlink',
        'fast-png',
        'fflate',
        'h5wasm',
        'papaparse',
        '@tensorflow/tfjs-core',
        '@tensorflow/tfjs-converter',
      ],
    },
    test: {
      name: 'browser',
      include: [browserTests],
      allowOnly: false,
      maxWorkers: 2,
      testTimeout: 120_000,
      hookTimeout: 120_000,
      // A group of its own: projects of one group run at once, and share the cores.
      sequence: { groupOrder: 0 },
      browser: {
        enabled: true,
        headless: true,
        screenshotFailures: false,
        provider: playwright({ launchOptions: await chromiumLaunch({ webgpu: true }) }),
        instances: [{ browser: 'chromium' }],
        api: { host: '127.0.0.1' },
        commands: nodeCommands,
      },
    },
  }
}

/** Files that take longest with nothing compiled, longest first. Begun last, one of them would leave a core idle. */
const longest = [
  'deno',
  'operators',
  'demo-session',
  'demo-session-files',
  'cli',
  'package',
  'long-sums-products',
  'long-sums-reductions',
  'study-run',
  'transfer',
  'demo',
  'training-resume',
  'training',
  'browser/operators',
  'browser/training',
]

/** Starts with the files that take longest: Vitest itself knows their times from an earlier run only. */
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files)
    const rankOf = ({ moduleId }: TestSpecification): number => {
      const rank = longest.findIndex((name) => moduleId.endsWith(`/test/${name}.test.ts`))
      return rank < 0 ? longest.length : rank
    }
    return sorted.toSorted((a, b) => rankOf(a) - rankOf(b))
  }
}

const reason = await whyNoChromium()
if (reason !== undefined) console.warn(`The tests in test/browser/ are skipped. ${reason}`)

export default defineConfig({
  test: {
    sequence: { sequencer: LongestFirst },
    reporters: ['default', ['json', { outputFile: 'test-report.json' }]],
    projects: reason === undefined ? [...projectsInNode, await browser()] : projectsInNode,
  },
})
