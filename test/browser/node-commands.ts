/**
 * Work that Node.js does for the browser tests: `commands.nodeNumbers()`. vitest.config.ts imports this file, so it
 * must stay small.
 */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { nn } from 'weftgrad'

/** The results of the same trainings in Node.js. */
export interface NodeNumbers {
  readonly adapter: string
  /** The first of Fashion-MNIST's training images, in base64. */
  readonly images: string
  readonly labels: string
  /** The losses of each trajectory in test/fixtures/lenet-trajectory.json. */
  readonly trajectories: readonly (readonly number[])[]
  /** The epochs of test/support/short-training.ts. */
  readonly epochs: readonly nn.EpochLogs[]
}

declare module 'vitest/browser' {
  interface BrowserCommands {
    /** Trains in a separate process, on the adapter that it finds. */
    nodeNumbers(): Promise<NodeNumbers>
  }
}

export const nodeCommands = {
  async nodeNumbers(): Promise<NodeNumbers> {
    const program = fileURLToPath(new URL('node-numbers.ts', import.meta.url))
    const { stdout } = await promisify(execFile)(process.execPath, ['--import', 'tsx', program], {
      env: { ...process.env, WEFTGRAD_TUNE: '0' },
      maxBuffer: 2 ** 26,
    })
    return JSON.parse(stdout)
  },
}
