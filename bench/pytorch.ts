/**
 * PyTorch in a process of its own, so that it can be sampled in turn with weftgrad: `pytorch.py --serve` waits for work.
 * It runs as its users run it: eager, float32, its own layout (NCHW), all of its threads. A request takes about 0.1 ms,
 * which counts as PyTorch's time.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface, type Interface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { WeftgradError } from '../src/errors.ts'
import type { Subject } from './measure.ts'

/** Work that pytorch.py knows. */
export type PytorchWork =
  | { readonly kind: 'lenet'; readonly batch: number }
  | { readonly kind: 'vgg16'; readonly pixels: number; readonly batch: number }
  | { readonly kind: 'matmul'; readonly shapes: readonly (readonly number[])[] }

type Answer = { readonly torch: string; readonly device: string } | { readonly done: true } | { readonly error: string }

export class PytorchSide {
  readonly name = 'pytorch'
  readonly title: string
  readonly #process: PythonProcess

  private constructor(python: PythonProcess, title: string) {
    this.#process = python
    this.title = title
  }

  /** Throws WeftgradError 'file' if there is no Python with PyTorch. */
  static async open(python = 'python3'): Promise<PytorchSide> {
    const server = new PythonProcess(python)
    try {
      const hello = await server.answer()
      if (!('torch' in hello)) throw new TypeError('pytorch.py did not introduce itself')
      return new PytorchSide(server, `PyTorch ${hello.torch} on ${hello.device}`)
    } catch (cause) {
      server.end()
      throw new WeftgradError(
        'file',
        `${python} cannot run PyTorch (${server.lastWords}). Install it (${python} -m pip install torch), or put a Python that has it first on the PATH.`,
        { python },
        cause,
      )
    }
  }

  /** Prepares work. Throws what pytorch.py could not do. */
  async subjectFor(work: PytorchWork | undefined): Promise<Subject> {
    if (work === undefined) throw new Error('bench/pytorch.py has no such work')
    await this.#process.ask({ open: work })
    return { maxRepeats: 1000, run: (repeats) => this.#process.ask({ run: repeats }) }
  }

  scoped<T>(use: () => Promise<T>): Promise<T> {
    return use()
  }

  dispose(): void {
    this.#process.end()
  }
}

/** The process, and the lines of JSON that it answers. */
class PythonProcess {
  readonly #child: ChildProcess
  readonly #lines: Interface
  readonly #answers: AsyncIterator<string>
  readonly #failed: Promise<never>
  /** The last line that it wrote as an error. */
  lastWords = 'it gave no reason'

  constructor(python: string) {
    const script = fileURLToPath(new URL('pytorch.py', import.meta.url))
    const child = spawn(python, [script, '--serve'], { stdio: ['pipe', 'pipe', 'pipe'] })
    this.#child = child
    this.#lines = createInterface({ input: child.stdout })
    this.#answers = this.#lines[Symbol.asyncIterator]()
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.lastWords = text.trim().split('\n').at(-1) ?? this.lastWords
    })
    child.stdin.on('error', () => undefined) // The process ended: `answer` says so.
    this.#failed = once(child, 'error').then(([error]) => {
      this.lastWords = error instanceof Error ? error.message : String(error)
      throw error
    })
    this.#failed.catch(() => undefined)
  }

  async answer(): Promise<Answer> {
    const { value, done } = await Promise.race([this.#answers.next(), this.#failed])
    if (done) {
      if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, 'close')
      throw new Error(`PyTorch's process ended: ${this.lastWords}`)
    }
    return JSON.parse(value) as Answer
  }

  /** Sends a request and waits until it is done. Throws what pytorch.py could not do. */
  async ask(request: object): Promise<void> {
    this.#child.stdin?.write(`${JSON.stringify(request)}\n`)
    const answer = await this.answer()
    if ('error' in answer) throw new Error(answer.error)
  }

  end(): void {
    this.#child.stdin?.end()
    this.#child.kill()
    this.#lines.close()
  }
}
