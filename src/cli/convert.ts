/** `weftgrad convert IN OUT.safetensors`: converts a weights file to safetensors, and lists its contents. */

import { stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { WeftgradError } from '../errors.ts'
import { openWeightFile } from '../format/open-weights.node.ts'
import { elementCount } from '../kernels/kernel.ts'
import { count, megabytes } from '../numbers.ts'
import { printable } from '../printable.ts'
import { largest } from '../statistics.ts'
import { type ConvertedTensor, convertWeights } from '../weights/convert.node.ts'
import { guessAt } from '../weights/recognize.ts'
import { BytesBar } from './bar.ts'
import { exitCodeAfter } from './failure.ts'
import { interruptible } from './interrupt.ts'
import { openTerminal, type Terminal } from './terminal.ts'

export interface ConvertOptions {
  readonly force?: boolean
  readonly json?: boolean
}

export async function convertCommand(from: string, to: string, { force = false, json }: ConvertOptions): Promise<void> {
  if (!to.endsWith('.safetensors')) {
    throw new WeftgradError('argument', `The output is a safetensors file: name it ${to}.safetensors.`, { to })
  }
  if (!force && (await exists(to))) {
    throw new WeftgradError('argument', `${to} already exists. Choose another name, or overwrite it with --force.`, {
      to,
    })
  }
  const terminal = openTerminal({ json })
  const bar = new BytesBar(terminal, 'Converting')
  const interrupt = interruptible(
    () => bar.close(),
    () => bar.close(),
  )
  try {
    const file = await openWeightFile(from)
    try {
      const tensors = await convertWeights(file, to, {
        signal: interrupt.signal,
        onProgress: ({ bytes, totalBytes }) => bar.update(bytes, totalBytes),
      })
      bar.close()
      const parameters = tensors.reduce((sum, { shape }) => sum + elementCount(shape), 0)
      const guess = guessAt(file.groups)
      show(tensors, parameters, terminal)
      terminal.say(`${from} (${file.format}) was written to ${to}: ${megabytes(4 * parameters)} of float32. ${guess}`)
      if (json) {
        const range = (bound: number): number | null => (Number.isFinite(bound) ? bound : null)
        const listed = tensors.map((one) => ({ ...one, min: range(one.min), max: range(one.max) }))
        terminal.json({ from, to: resolve(to), format: file.format, parameters, guess, tensors: listed })
      }
    } finally {
      file.close()
    }
  } catch (error) {
    bar.close()
    process.exitCode = exitCodeAfter(error, interrupt)
  } finally {
    interrupt.release()
  }
}

function show(tensors: readonly ConvertedTensor[], parameters: number, { say, colors }: Terminal): void {
  const { dim, red } = colors
  const rows = tensors.map(({ name, shape, storedAs, min, max, notFinite }) => ({
    cells: [
      printable(name),
      printable(`[${shape.join(', ')}]`),
      printable(storedAs),
      min.toPrecision(5),
      max.toPrecision(5),
    ],
    note: notFinite > 0 ? red(`  ${count(notFinite)} not finite: loading refuses them`) : '',
  }))
  const header = ['Tensor', 'Shape', 'Stored as', 'Minimum', 'Maximum']
  const widths = header.map((title, i) =>
    largest(
      rows.map(({ cells }) => cells[i]?.length ?? 0),
      title.length,
    ),
  )
  const line = (cells: readonly string[]): string =>
    cells.map((cell, i) => (i > 2 ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0))).join('  ')
  say(dim(line(header)))
  for (const { cells, note } of rows) say(line(cells) + note)
  say(dim(`${tensors.length} tensors, ${count(parameters)} numbers`))
}

async function exists(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  )
}
