/**
 * Checks every case of the operator table, forward and gradients, against the float64 reference: first with the
 * adapter's preferred kernels, then with every variant that it supports. Several cases run at a time to keep the
 * compilers busy.
 */

import { availableParallelism } from 'node:os'
import type { Device } from '../../../src/gpu/device.ts'
import type { Case } from '../../../test/cases/case.ts'
import type { Expectation, Variants } from '../../../test/cases/verify.ts'
import { checkForward, checkGradients, computed, expectationOf, variantRuns } from '../../../test/cases/verify.ts'
import { cases as allCases } from '../../../test/cases.ts'
import type { Part, PartWork } from '../part.ts'
import { messageOf } from '../part.ts'

interface Failure {
  readonly case: string
  /** The requested kernels; empty for the preferred ones. */
  readonly variants: Variants
  readonly problem: string
}

export interface OperatorFigures {
  /** Cases in the table. */
  readonly cases: number
  /** Cases that ran with the preferred kernels, right or wrong. */
  readonly checked: number
  /** Runs of a case with given variants. */
  readonly variantRuns: number
  /** Runs that requested a variant, by `family/variant`. */
  readonly variants: Readonly<Record<string, number>>
  readonly failures: readonly Failure[]
}

/** The check stops after this many failures, or lost devices: more would add nothing. */
const mostFailures = 200
const mostLostDevices = 8
/** The most cases at a time. More do not compile faster. */
const mostAtOnce = 8

interface Task {
  readonly testCase: Case
  readonly variants: Variants
  /** Whether this is the first run of a case. */
  readonly preferred: boolean
}

export const operatorsPart: Part<OperatorFigures> = {
  name: 'operators',
  title: 'Operators',
  seconds: 130,
  async run(work) {
    const words = (work.options.cases ?? '').toLowerCase().split(/\s+/)
    const cases = allCases.filter(({ name }) => words.every((word) => name.toLowerCase().includes(word)))
    if (cases.length === 0) throw new Error(`No case's name contains "${work.options.cases}".`)
    const check = new OperatorCheck(work, cases)
    await check.runAll(cases.map((testCase) => ({ testCase, variants: {}, preferred: true })))
    const runs = await check.variantTasks()
    await check.runAll(runs)
    check.report()
    if (check.checked === 0) work.problem('No case was checked.')
  },
  page({ cases, checked, variantRuns, variants, failures }) {
    return [
      `${checked} of ${cases} cases compared with float64, forward and gradients; ${variantRuns} more runs with other variants. ` +
        `${failures.length === 0 ? 'No failure.' : `**${failures.length} failures.**`}`,
      '',
      ...failures
        .slice(0, 40)
        .map(({ case: name, variants, problem }) => `- \`${name}\` ${JSON.stringify(variants)}: ${problem}`),
      '',
      '<details><summary>Variants checked</summary>',
      '',
      '| kernel | runs |',
      '|---|---:|',
      ...Object.entries(variants).map(([name, count]) => `| ${name} | ${count} |`),
      '',
      '</details>',
    ]
  },
}

class OperatorCheck {
  readonly #work: PartWork<OperatorFigures>
  readonly #cases: readonly Case[]
  readonly #expectations = new Map<Case, Expectation>()
  readonly #failures: Failure[] = []
  readonly #variants = new Map<string, number>()
  #checked = 0
  #variantRuns = 0
  #lostDevices = 0
  #reportedAt = 0

  constructor(work: PartWork<OperatorFigures>, cases: readonly Case[]) {
    this.#work = work
    this.#cases = cases
  }

  /**
   * Runs tasks side by side while there is time. Tasks that were running when a device failed run again, one by one.
   */
  async runAll(tasks: readonly Task[]): Promise<void> {
    const queue = [...tasks]
    while (queue.length > 0 && this.#goesOn()) {
      const device = this.#work.device
      const suspects: Task[] = []
      const worker = async (): Promise<void> => {
        while (device.usable && this.#goesOn()) {
          const task = queue.shift()
          if (task === undefined) return
          const problem = await this.#problemOf(task, device)
          if (problem !== undefined && !device.usable) suspects.push(task)
          else this.#note(task, problem)
        }
      }
      await Promise.all(Array.from({ length: Math.min(mostAtOnce, availableParallelism()) }, worker))
      if (!device.usable) await this.#work.reopen()
      for (const task of suspects) {
        if (this.#lostDevices >= mostLostDevices) queue.unshift(task)
        else await this.#runAlone(task)
      }
    }
    if (queue.length > 0) this.#leave(queue)
  }

  async #runAlone(task: Task): Promise<void> {
    const device = this.#work.device
    this.#note(task, await this.#problemOf(task, device))
    if (device.usable) return
    this.#lostDevices++
    await this.#work.reopen()
  }

  /** The runs that show every variant of the cases that were checked. */
  async variantTasks(): Promise<Task[]> {
    const tasks: Task[] = []
    for (const testCase of this.#cases) {
      const expectation = this.#expectations.get(testCase)
      if (expectation === undefined) continue
      for (const variants of variantRuns(this.#work.device, testCase, expectation))
        tasks.push({ testCase, variants, preferred: false })
    }
    return tasks
  }

  get checked(): number {
    return this.#checked
  }

  #goesOn(): boolean {
    return this.#work.remaining > 0 && this.#failures.length < mostFailures && this.#lostDevices < mostLostDevices
  }

  /** Describes what is wrong with a case; undefined if nothing is. */
  async #problemOf({ testCase, variants }: Task, device: Device): Promise<string | undefined> {
    try {
      const expectation = this.#expectations.get(testCase) ?? expectationOf(testCase)
      this.#expectations.set(testCase, expectation)
      const { forward, gradients } = await computed(device, testCase, expectation, { variants })
      checkForward(testCase, forward, expectation.forward, 'forward')
      checkGradients(testCase, expectation, gradients, 'gradient')
      return undefined
    } catch (error) {
      return messageOf(error)
    }
  }

  #note({ testCase, variants, preferred }: Task, problem: string | undefined): void {
    if (preferred) this.#checked++
    else this.#variantRuns++
    for (const [family, variant] of Object.entries(variants)) {
      const name = `${family}/${variant}`
      this.#variants.set(name, (this.#variants.get(name) ?? 0) + 1)
    }
    if (problem !== undefined) {
      this.#failures.push({ case: testCase.name, variants, problem })
      const kernels = Object.entries(variants).map(([family, variant]) => `${family}/${variant}`)
      this.#work.problem(`${testCase.name}${kernels.length > 0 ? ` (${kernels.join(', ')})` : ''}: ${problem}`)
    }
    if (performance.now() - this.#reportedAt > 1000) this.report()
  }

  #leave(tasks: readonly Task[]): void {
    const why =
      this.#lostDevices >= mostLostDevices
        ? `${mostLostDevices} devices were lost`
        : this.#failures.length >= mostFailures
          ? `there were ${mostFailures} failures`
          : 'out of time'
    const kind = tasks[0]?.preferred ? 'cases' : 'runs with other variants'
    this.#work.left(`${tasks.length} ${kind}: ${why}.`)
  }

  report(): void {
    this.#reportedAt = performance.now()
    this.#work.report({
      cases: this.#cases.length,
      checked: this.#checked,
      variantRuns: this.#variantRuns,
      variants: Object.fromEntries([...this.#variants].sort(([a], [b]) => (a < b ? -1 : 1))),
      failures: [...this.#failures],
    })
  }
}
