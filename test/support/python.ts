/** Runs models under Python's tools, Keras and ONNX Runtime, where they are installed. */
import { spawn } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export type PythonTool = 'keras' | 'onnx'
const modules: Readonly<Record<PythonTool, string>> = { keras: 'keras', onnx: 'onnxruntime' }

/** The interpreter: `WEFTGRAD_PYTHON`, else `python3`. */
const python = process.env.WEFTGRAD_PYTHON ?? 'python3'
const script = fileURLToPath(new URL('../python/run_models.py', import.meta.url))

interface Outcome {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

async function runPython(args: readonly string[]): Promise<Outcome> {
  return await new Promise((done) => {
    const child = spawn(python, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    let [out, err] = ['', '']
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out += text
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      err += text
    })
    child.on('error', ({ message }) => done({ code: null, out, err: message }))
    child.on('close', (code) => done({ code, out, err }))
  })
}

/** Why tests with a tool are skipped; undefined if they run. */
export async function whyNoPython(tool: PythonTool): Promise<string | undefined> {
  const title = `The tests that open models in Python's ${modules[tool]} are skipped`
  if (process.env.WEFTGRAD_TEST_FULL !== '1')
    return `${title}: they take minutes. \`npm run test:full\` runs them, if WEFTGRAD_PYTHON names a Python that has it.`
  const found = `import importlib.util as u, sys; sys.exit(0 if u.find_spec('${modules[tool]}') and u.find_spec('numpy') else 3)`
  const { code, err } = await runPython(['-c', found])
  if (code === 0) return undefined
  const reason = code === 3 ? `${python} lacks it` : `${python} does not run (${err.trim().split('\n').at(-1)})`
  return `${title}: ${reason}. Install it and numpy, and set WEFTGRAD_PYTHON to that Python.`
}

/** A model in a file, and a batch for it. */
export interface PythonCase {
  /** The model's file, within the folder. */
  readonly model: string
  readonly input: Float32Array
  /** The batch's shape. */
  readonly shape: readonly number[]
  /** Where Keras writes the model that it read, within the folder. */
  readonly save?: string
}

export interface PythonOutput {
  readonly shape: readonly number[]
  readonly data: Float32Array
}

/** The outputs by model, or what the tool says against it. */
export async function outputsIn(
  tool: PythonTool,
  folder: string,
  cases: readonly PythonCase[],
): Promise<ReadonlyMap<string, PythonOutput | string>> {
  const listed = cases.map(({ model, shape, save = null }, i) => ({
    ...{ model, shape, save },
    ...{ input: `${i}.input`, output: `${i}.output` },
  }))
  for (const [i, { input }] of cases.entries()) await writeFile(join(folder, `${i}.input`), input)
  await writeFile(join(folder, 'cases.json'), JSON.stringify(listed))
  const { code, out, err } = await runPython([script, tool, folder])
  if (code !== 0) throw new Error(`${python} ${script} ended with ${code}: ${err.slice(-2000)}`)
  const results = out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { model: string; shape?: number[]; error?: string })
  const outputs = new Map<string, PythonOutput | string>()
  for (const [i, { model, shape, error = 'no output' }] of results.entries()) {
    if (shape === undefined) outputs.set(model, error)
    else {
      const { buffer, byteOffset, length } = await readFile(join(folder, `${i}.output`))
      outputs.set(model, { shape, data: new Float32Array(buffer.slice(byteOffset, byteOffset + length)) })
    }
  }
  return outputs
}
