/**
 * A program that reads every tensor of the file named on the command line, and prints the sum of their first numbers
 * and the peak memory use: the heap and what it references, including WebAssembly's memory. Run with --expose-gc: the
 * time of garbage collection is not up to the reader.
 */
import { openWeightFile } from '../../src/format/open-weights.node.ts'
import type { WeightEntry } from '../../src/format/weight-file.ts'

let peakBytes = 0
function look(): void {
  globalThis.gc?.()
  // WebAssembly's memory counts as external.
  const { heapUsed, external } = process.memoryUsage()
  peakBytes = Math.max(peakBytes, heapUsed + external)
}

const file = await openWeightFile(process.argv[2] ?? '')

/** A separate function, so that the tensor is released before the next one is read. */
async function firstNumber(entry: WeightEntry): Promise<number> {
  const [number] = await file.read(entry)
  look()
  return number ?? 0
}

let sum = 0
for (const entry of file.groups.flatMap(({ weights }) => weights)) {
  look()
  sum += await firstNumber(entry)
}
file.close()
console.log(JSON.stringify({ sum, peakBytes }))
