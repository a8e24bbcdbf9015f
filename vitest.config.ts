import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Native code does not see a worker thread's environment, and two devices at once only slow each other down.
    pool: 'forks',
    maxWorkers: 1,
    fileParallelism: false,
    allowOnly: false,
    // Kernels by their families' preferences: what is measured differs from run to run.
    env: { WEFTGRAD_TUNE: '0' },
    testTimeout: 120_000,
    hookTimeout: 600_000,
    reporters: ['default', ['json', { outputFile: 'test-report.json' }]],
  },
})
