/** The Python that some tests of `npm run test:full` need, with packages of other projects. */
import { execFile, execFileSync } from 'node:child_process'
import { promisify } from 'node:util'

/**
 * The Python that WEFTGRAD_PYTHON names, or `python3`, if it has these modules. Else undefined, and says why; nothing is looked for
 * outside `npm run test:full`.
 */
export function onnxPython(modules: string): string | undefined {
  if (process.env.WEFTGRAD_TEST_FULL !== '1') return undefined
  const python = process.env.WEFTGRAD_PYTHON ?? 'python3'
  try {
    execFileSync(python, ['-c', `import ${modules}`], { stdio: 'pipe' })
    return python
  } catch {
    console.warn(
      `SKIPPED: ${python} cannot import ${modules}. Install them, or name another Python in WEFTGRAD_PYTHON.`,
    )
    return undefined
  }
}

/** What a program prints. */
export async function pythonText(python: string, args: readonly string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(python, [...args], { maxBuffer: 2 ** 24 })
  return stdout
}
