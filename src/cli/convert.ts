/** `weftgrad convert IN OUT`: converts a model, or weights, to another format, and lists the weights. */

import { stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { WeftgradError } from '../errors.ts'
import { openWeightFile } from '../format/open-weights.node.ts'
import { elementCount } from '../kernels/kernel.ts'
import { count, megabytes } from '../numbers.ts'
import { printable } from '../printable.ts'
import { largest } from '../statistics.ts'
import type { ConvertedTensor } from '../weights/convert.node.ts'
import { type Conversion, convertFile } from '../weights/convert-model.node.ts'
import { guessAt } from '../weights/recognize.ts'
import { formatOf, type ModelFormat, modelJsonOf } from '../weights/save-model.node.ts'
import { BytesBar } from './bar.ts'
import { exitCodeAfter } from './failure.ts'
import { interruptible } from './interrupt.ts'
import { openTerminal, type Terminal } from './terminal.ts'

export interface ConvertOptions {
  readonly force?: boolean
  readonly json?: boolean
}

export async function convertCommand(from: string, to: string, { force = false, json }: ConvertOptions): Promise<void> {
  const target = (await formatOf(to)) === 'tfjs' ? modelJsonOf(to) : to
  if (!force && (await exists(target))) {
    throw new WeftgradError(
      'argument',
      `${target} already exists. Choose another name, or overwrite it with --force.`,
      {
        to,
      },
    )
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
      const conversion = await convertFile(file, to, {
        signal: interrupt.signal,
        onProgress: ({ bytes, totalBytes }) => bar.update(bytes, totalBytes),
      })
      bar.close()
      const { tensors, model, reason, format: writtenAs } = conversion
      const parameters = tensors.reduce((sum, { shape }) => sum + elementCount(shape), 0)
      const guess = guessAt(file.groups)
      show(tensors, parameters, terminal)
      terminal.say(
        `${from} (${file.format}) was written to ${target}: ${megabytes(4 * parameters)} of float32. ${guess}`,
      )
      terminal.say(keptText(conversion))
      if (json) {
        const range = (bound: number): number | null => (Number.isFinite(bound) ? bound : null)
        const listed = tensors.map((one) => ({ ...one, min: range(one.min), max: range(one.max) }))
        const written = { writtenAs, model: model ?? null, ...(reason === undefined ? {} : { reason }) }
        terminal.json({
          from,
          to: resolve(target),
          format: file.format,
          ...written,
          parameters,
          guess,
          tensors: listed,
        })
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

const leftOut: Readonly<Record<ModelFormat, string>> = {
  keras: 'Not in it: the state of an optimizer',
  h5: 'Not in it: the state of an optimizer',
  safetensors: 'Not in it: the state of an optimizer',
  tfjs: 'Not in it: initializers, regularizers, and the state of an optimizer',
  onnx: 'Not in it: what only training needs (dropout, initializers, regularizers, the state of an optimizer)',
}

/** What the written file has of the other, and what it lacks. */
function keptText({ model, reason, format }: Conversion): string {
  if (model === undefined) return `It holds weights only. ${reason ?? ''}`
  const { name, layers, classNames, description } = model
  const texts = Object.keys(description).length
  const further = [
    ...(classNames === undefined ? [] : [`the names of ${classNames.length} classes`]),
    ...(texts === 0 ? [] : [texts === 1 ? 'a line of description' : `${texts} lines of description`]),
  ]
  const images = format === 'onnx' ? ' Its images are [batch, channels, height, width].' : ''
  return `It holds the model ${name}: ${[`${layers} layers`, 'their weights', ...further].join(', ')}. ${leftOut[format]}.${images}`
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
