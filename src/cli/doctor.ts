/** `weftgrad doctor`: the GPU, driver and data found, and how to speed things up. Downloads nothing. */

import { WeftgradError } from '../errors.ts'
import { type AdapterDiagnosis, type Diagnosis, diagnose } from '../gpu/node/doctor.ts'
import { sourceInWords } from '../gpu/node/setup.ts'
import { count } from '../numbers.ts'
import type { Task } from '../tasks/task.ts'
import { openTerminal, type Terminal } from './terminal.ts'

export interface DoctorOptions {
  readonly dataDir?: string
  readonly json?: boolean
}

interface DataDiagnosis {
  /** The folder with the data; undefined if none was found: `problem` then says where weftgrad looked. */
  readonly folder: string | undefined
  readonly published: boolean
  readonly train: number
  readonly test: number
  readonly problem: string | undefined
}

/** Exit code 1 if there is no adapter. */
export async function doctorCommand(task: Task, { dataDir, json }: DoctorOptions): Promise<void> {
  const terminal = openTerminal({ json })
  const diagnosis = await diagnose()
  const data = await findData(task, dataDir)
  const next = nextStep(diagnosis, data, task)
  if (json) terminal.json({ ...diagnosis, data, next })
  else {
    print(diagnosis, data, task.data.title, terminal)
    terminal.say()
    terminal.say(`${terminal.colors.bold('Next')}  ${next}`)
  }
  if (diagnosis.adapter === undefined) process.exitCode = 1
}

/** What to do now, in one sentence. */
function nextStep({ adapter }: Diagnosis, { folder }: DataDiagnosis, { network }: Task): string {
  if (adapter === undefined)
    return 'Run `weftgrad setup`: it downloads a software driver; or install the driver of your GPU.'
  if (folder === undefined) return 'Run `weftgrad setup`: it downloads the data.'
  return `Everything is there. Train with \`weftgrad ${network.command}\`.`
}

async function findData(task: Task, dataDir: string | undefined): Promise<DataDiagnosis> {
  try {
    const { folder, published, train, test } = await task.data.load({ dataDir, provision: false })
    return { folder, published: published === true, train: train.count, test: test.count, problem: undefined }
  } catch (error) {
    if (!(error instanceof WeftgradError)) throw error
    return { folder: undefined, published: false, train: 0, test: 0, problem: error.message }
  }
}

function print(diagnosis: Diagnosis, data: DataDiagnosis, dataTitle: string, { say, colors }: Terminal): void {
  const { bold, dim, green, yellow, red } = colors
  const line = (name: string, text: string): void => say(`  ${dim(name.padEnd(11))} ${text}`)
  const { adapter, problem, processor, cachedDriver, systemDrivers } = diagnosis

  say(bold('Adapter'))
  if (adapter === undefined) say(`  ${red('none')}: ${problem ?? 'unknown'}`)
  else {
    const kind = adapter.hardware ? green('hardware') : yellow('software, on the CPU')
    line('driver', `${adapter.driver}: ${kind}`)
    line('found as', sourceInWords[adapter.source])
    line('device', [adapter.name, adapter.vendor, adapter.architecture].filter((part) => part !== '').join(', '))
    line('subgroups', subgroupText(adapter))
    if (diagnosis.vectorWidth) line('vectors', diagnosis.vectorWidth.why)
    line('features', featureText(adapter))
    for (const [name, value] of Object.entries(adapter.limits))
      say(`  ${dim(name.padEnd(34))} ${limitText(name, value)}`)
  }
  say()
  say(bold('Environment'))
  line('Node.js', `${diagnosis.nodeVersion} on ${diagnosis.platform}`)
  line('processor', `${processor.model}, ${processor.cores} ${processor.cores === 1 ? 'core' : 'cores'}`)
  line('drivers', systemDrivers.length > 0 ? systemDrivers.join(', ') : 'no system Vulkan driver')
  line('cache', diagnosis.cacheFolder)
  if (cachedDriver.state === 'whole')
    line('', `Mesa ${cachedDriver.driver.mesaVersion} in ${cachedDriver.driver.folder}`)
  if (cachedDriver.state === 'damaged')
    line('', `${yellow('damaged')}: ${cachedDriver.reason} (${cachedDriver.folder})`)
  say()
  say(bold(dataTitle))
  if (data.folder === undefined) {
    line('none', data.problem ?? '')
    line('', '`weftgrad setup` downloads it.')
  } else {
    line('folder', data.folder)
    const kind = data.published ? green('the published data') : yellow('not the published files')
    line('images', `${count(data.train)} to train, ${count(data.test)} to test: ${kind}`)
  }
  say()
  say(bold('How to speed things up'))
  if (diagnosis.faster.length === 0) say('  No suggestions.')
  for (const sentence of diagnosis.faster) say(`  ${sentence}`)
}

function subgroupText({ subgroupSize, subgroups: { size, pinned } }: AdapterDiagnosis): string {
  if (subgroupSize === undefined) return 'none'
  const { min, max } = subgroupSize
  const reported = min === max ? `${min} lanes` : `${min} to ${max} lanes`
  if (size === undefined) return `${reported}, not used`
  return pinned ? `${reported}, fixed at ${size} by the kernels` : reported
}

function featureText({ features }: AdapterDiagnosis): string {
  const names = Object.entries(features)
  const list = (there: boolean): string => names.flatMap(([name, has]) => (has === there ? [name] : [])).join(', ')
  const [present, absent] = [list(true), list(false)]
  return [present || 'none', ...(absent === '' ? [] : [`not ${absent}`])].join('; ')
}

/** Sizes in bytes as MiB or KiB, other limits as numbers. */
function limitText(name: string, value: number): string {
  if (!name.endsWith('Size')) return count(value)
  return value >= 2 ** 20 ? `${count(value / 2 ** 20)} MiB` : `${count(value / 1024)} KiB`
}
