/**
 * Validates every shader with naga, the shader compiler of wgpu, Firefox and Deno, and translates it to SPIR-V, MSL and
 * HLSL: what the drivers of Vulkan, Metal and Direct3D 12 would get. A recording device collects the shaders for 28 kinds
 * of adapters: all cases with all variants, LeNet-5's training, and the three networks.
 *
 *     node --import ./scripts/tsx.mjs scripts/validate-shaders.ts [FOLDER]
 *
 * FOLDER keeps the shaders, and a failed translation's message beside them. Exits with 1 if a shader fails, or if naga is
 * missing (`cargo install naga-cli`).
 */
import { execFile, execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { open } from '../src/gpu/open.ts'
import { cases } from '../test/cases.ts'
import {
  compileAll,
  extractFeatures,
  networkSizes,
  optimizerNames,
  tensorsOf,
  trainLenet,
} from '../test/support/recorded-work.ts'
import { guaranteedLimits, largeLimits, RecordingGpu } from '../test/support/recording-gpu.ts'

const run = promisify(execFile)

const targets = [false, true].flatMap((software) =>
  [undefined, 4, 8, 16, 32, 64, 128].flatMap((subgroupSize) =>
    [guaranteedLimits, largeLimits].map((limits) => ({
      name: `${software ? 'cpu' : 'gpu'}, ${subgroupSize === undefined ? 'no subgroups' : `subgroups of ${subgroupSize}`}, ${limits === largeLimits ? 'large' : 'default'} limits`,
      options: { software, limits, ...(subgroupSize === undefined ? {} : { subgroupSize }) },
    })),
  ),
)

/** A shader, and what first needed it. */
interface Collected {
  readonly wgsl: string
  readonly source: string
}

async function collect(): Promise<Collected[]> {
  const found = new Map<string, Collected>()
  const traced = cases.map((one) => ({ name: one.name, tensors: tensorsOf(one) }))
  for (const { name, options } of targets) {
    const recording = new RecordingGpu(options)
    using device = await open({ gpu: recording.gpu })
    const take = (what: string): void => {
      for (const wgsl of recording.shaders) if (!found.has(wgsl)) found.set(wgsl, { wgsl, source: `${what} (${name})` })
      recording.shaders.clear()
    }
    take('the probe of subgroups')
    for (const { name: what, tensors } of traced) {
      await compileAll(device, tensors)
      take(what)
    }
    for (const optimizer of optimizerNames)
      for (const batchSize of [32, 128]) {
        await trainLenet(device, optimizer, batchSize)
        take(`training with ${optimizer} at batch ${batchSize}`)
      }
    for (const network of networkSizes) {
      await extractFeatures(device, network)
      take(`${network[0]} at ${network[1]} pixels`)
    }
    for (const refusal of recording.refusals) throw new Error(`${name}: ${refusal}`)
    console.log(`${found.size} shaders after ${name}`)
  }
  return [...found.values()]
}

const directive = 'enable subgroups;\n'

/** Whether this naga knows the directive that WGSL requires for subgroup operations. */
async function knowsDirective(folder: string): Promise<boolean> {
  const probe = join(folder, 'directive.wgsl')
  writeFileSync(probe, `${directive}@compute @workgroup_size(1) fn main() {}\n`)
  const known = await run('naga', [probe]).then(
    () => true,
    () => false,
  )
  rmSync(probe)
  return known
}

/** Validates and translates a shader. Returns naga's complaint if there is one. */
async function complaintAbout(wgsl: string, folder: string): Promise<string | undefined> {
  const path = join(folder, createHash('sha256').update(wgsl).digest('hex').slice(0, 16))
  writeFileSync(`${path}.wgsl`, wgsl)
  try {
    await run(
      'naga',
      ['wgsl', 'spv', 'metal', 'hlsl'].map((kind) => `${path}.${kind}`),
    )
    return undefined
  } catch (error) {
    const complaint = `${path}.wgsl: ${(error as { stderr?: string }).stderr || error}`
    writeFileSync(`${path}.txt`, complaint)
    return complaint
  }
}

function versionOfNaga(): string | undefined {
  try {
    return execFileSync('naga', ['--version'], { encoding: 'utf8' }).trim()
  } catch {
    return undefined
  }
}

async function main(): Promise<void> {
  const version = versionOfNaga()
  if (version === undefined) {
    console.error('naga is not on the PATH, so no shader was validated. Install it with: cargo install naga-cli')
    process.exitCode = 1
    return
  }
  const [given] = process.argv.slice(2)
  const folder = given ?? mkdtempSync(join(tmpdir(), 'weftgrad-shaders-'))
  mkdirSync(folder, { recursive: true })
  const keepsDirective = await knowsDirective(folder)
  const collected = await collect()
  let [next, failures] = [0, 0]
  const work = async (): Promise<void> => {
    for (let one = collected[next++]; one !== undefined; one = collected[next++]) {
      const complaint = await complaintAbout(keepsDirective ? one.wgsl : one.wgsl.replace(directive, ''), folder)
      if (complaint === undefined) continue
      failures++
      console.error(`${one.source}: ${complaint}`)
    }
  }
  await Promise.all([work(), work()])
  if (given === undefined) rmSync(folder, { recursive: true })
  const cut = keepsDirective ? '' : ` This naga does not know \`${directive.trim()}\`, so the line was left out.`
  const count = `${collected.length} shaders for ${targets.length} kinds of adapters`
  console.log(`naga ${version}: ${count}, ${failures} failed.${cut}`)
  if (failures > 0 || collected.length === 0) process.exitCode = 1
}

await main()
