/** The `weftgrad` command as a user meets it: child processes of the built command, on a real adapter and real data. */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, open, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { interruptible } from '../src/cli/interrupt.ts'
import { colorsFor } from '../src/cli/shown.ts'
import { openTerminal } from '../src/cli/terminal.ts'
import { fact } from '../src/cli/training-text.ts'
import { trialTable } from '../src/cli/trial-table.ts'
import { resize } from '../src/data/resize.ts'
import { encodePng } from '../src/format/png.ts'
import { clock, percent } from '../src/numbers.ts'
import { Outcomes } from '../src/search/search.ts'
import { fashionMnistLenet5 as task } from '../src/tasks/fashion-mnist-lenet5.node.ts'
import { greySquare } from '../src/tasks/grey-square.ts'
import { train } from '../src/train/run.node.ts'
import { builtCommand } from './support/built-package.ts'
import { type CommandOptions, type Outcome, runCommand, sourceCommand } from './support/command.ts'

const weftgrad = (args: readonly string[], during?: CommandOptions['during']): Promise<Outcome> =>
  runCommand(args, during === undefined ? {} : { during })

let place = ''
beforeAll(async () => {
  place = await mkdtemp(join(tmpdir(), 'weftgrad-cli-'))
  await builtCommand()
}, 300_000)
afterAll(() => rm(place, { recursive: true, force: true }))

describe('training, evaluating and predicting with the command', () => {
  const limited = ['--limit', '640', '--epochs', '1']
  let run = ''
  let trained: Outcome
  beforeAll(async () => {
    run = join(place, 'run')
    trained = await weftgrad(['train', 'lenet', ...limited, '--out', run, '--json'])
  }, 300_000)

  it('prints one JSON object on standard output, and everything for people on standard error', () => {
    expect({ code: trained.code, stderr: trained.stderr }).toMatchObject({ code: 0 })
    const report = JSON.parse(trained.stdout)
    expect(Object.keys(report)).toEqual([
      ...['adapter', 'hardware', 'parameters', 'epochs', 'batchSize', 'secondsPerEpoch', 'millisecondsPerStep'],
      ...['dispatchesPerStep', 'firstStepSeconds', 'test', 'validation', 'history', 'runDir'],
    ])
    expect(report).toMatchObject({ parameters: 113_782, epochs: 1, batchSize: 32, runDir: run })
    for (const key of ['secondsPerEpoch', 'millisecondsPerStep', 'dispatchesPerStep', 'firstStepSeconds']) {
      expect(report[key]).toBeGreaterThan(0)
    }
    expect(report.test.accuracy).toBeGreaterThan(0.12)
    expect(report.history).toHaveLength(1)
    for (const words of ['Adapter', 'limited to the first 640', '113,782', 'Ankle boot', 'Confusion', 'curves.svg']) {
      expect(trained.stderr).toContain(words)
    }
    // biome-ignore lint/suspicious/noControlCharactersInRegex: colours are what is looked for
    expect(trained.stderr).not.toMatch(/\u001b/)
  })

  it('gives the same model for the same seed, without --json on standard output', async () => {
    const again = await weftgrad(['train', 'lenet', ...limited, '--out', join(place, 'again')])
    expect(again.code).toBe(0)
    expect(again.stdout).toContain('Confusion')
    const models = await Promise.all(['run', 'again'].map((name) => readFile(join(place, name, 'model.safetensors'))))
    expect(models[0]?.equals(models[1] ?? Buffer.alloc(0))).toBe(true)
  }, 120_000)

  it('evaluates a finished run', async () => {
    const { code, stdout } = await weftgrad(['evaluate', run, '--json'])
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({ test: JSON.parse(trained.stdout).test, runDir: run })
  }, 120_000)

  it('classifies images, large or small, and warns if they look inverted', async () => {
    const data = new Uint8Array(60 * 40 * 3).fill(255)
    await writeFile(join(place, 'white.png'), encodePng({ width: 60, height: 40, channels: 3, data }))
    await writeFile(
      join(place, 'black.png'),
      encodePng({ width: 28, height: 28, channels: 1, data: new Uint8Array(784) }),
    )
    const pictures = ['white.png', 'black.png'].map((name) => join(place, name))
    const { code, stdout, stderr } = await weftgrad(['predict', run, ...pictures, '--json'])
    expect({ code, stderr }).toMatchObject({
      code: 0,
      stderr: expect.stringContaining('white.png looks dark on light'),
    })
    const { predictions } = JSON.parse(stdout)
    expect(predictions).toHaveLength(2)
    for (const { image, class: name, label, probabilities } of predictions) {
      expect(pictures).toContain(image)
      const values = Object.values<number>(probabilities)
      expect(values.reduce((sum, value) => sum + value, 0)).toBeCloseTo(1, 5)
      expect([values.length, Object.keys(probabilities)[label]]).toEqual([10, name])
      expect(probabilities[name]).toBe(Math.max(...values))
    }
  }, 120_000)

  it('says clearly what is wrong with a run or an image', async () => {
    await mkdir(join(place, 'empty'), { recursive: true })
    await writeFile(join(place, 'no.png'), 'not a picture')
    for (const [args, words] of [
      [['evaluate', join(place, 'empty')], 'is not the folder of a run'],
      [['predict', join(place, 'empty'), join(place, 'no.png')], 'holds no trained model'],
      [['predict', run, join(place, 'no.png')], 'is not a readable picture'],
      [['predict', run, join(place, 'absent.png')], 'could not be read'],
    ] as const) {
      const { code, stdout, stderr } = await weftgrad(args)
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
      expect(stderr).toContain(words)
      expect(stderr).not.toMatch(/^ +at /m)
    }
  }, 60_000)
})

describe('stopping', () => {
  it('with SIGINT writes a checkpoint, says how to resume, and the resumed run equals the uninterrupted one', async () => {
    const out = join(place, 'stopped')
    const settings = ['--limit', '1000', '--epochs', '2', '--units', '32,16', '--seed', '5']
    let sent = false
    const stopped = await weftgrad(['train', 'lenet', ...settings, '--out', out, '--json'], (text, child) => {
      if (sent || !text.includes('Epoch')) return
      sent = true
      child.kill('SIGINT')
    })
    expect({ code: stopped.code, stdout: stopped.stdout }).toEqual({ code: 130, stdout: '' })
    expect(stopped.stderr).toMatch(/Resume with: .*--resume .*stopped/)
    expect(await readdir(out)).toContain('checkpoint.safetensors')

    const other = await weftgrad(['train', 'lenet', '--resume', out, '--seed', '6'])
    expect({ code: other.code, stderr: other.stderr }).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('has --seed 5, not 6'),
    })
    const resumed = await weftgrad(['train', 'lenet', '--resume', out, '--json'])
    expect({ code: resumed.code, stderr: resumed.stderr }).toMatchObject({ code: 0 })
    const whole = join(place, 'whole')
    const uninterrupted = await train(task, { limit: 1000, epochs: 2, units: [32, 16], seed: 5, out: whole })
    const models = await Promise.all([out, whole].map((run) => readFile(join(run, 'model.safetensors'))))
    expect(models[0]?.equals(models[1] ?? Buffer.alloc(0))).toBe(true)
    expect(JSON.parse(resumed.stdout).test).toEqual(uninterrupted.test)
  }, 120_000)

  it('with SIGHUP, which a closing terminal sends, writes a checkpoint too', async () => {
    const out = join(place, 'hung-up')
    const settings = ['--limit', '1000', '--epochs', '50', '--units', '32,16']
    let sent = false
    const stopped = await weftgrad(['train', 'lenet', ...settings, '--out', out], (text, child) => {
      // Only once: a second one, later, would end the process at once.
      if (sent || !text.includes('Epoch')) return
      sent = true
      child.kill('SIGHUP')
    })
    expect(stopped.code).toBe(129)
    expect(await readdir(out)).toEqual(expect.arrayContaining(['checkpoint.safetensors', 'config.json']))
    expect(await readdir(out)).not.toContain('report.json')
  }, 60_000)

  it('counts a signal that arrives twice as one, and ends the process if a job has not stopped after a while', () => {
    vi.useFakeTimers({ toFake: ['setTimeout'] })
    const kill = vi.spyOn(process, 'kill').mockReturnValue(true)
    try {
      for (const [name, exitCode, endsByItself] of [
        ['SIGINT', 130, false],
        ['SIGTERM', 143, true],
        ['SIGHUP', 129, true],
      ] as const) {
        const heard: string[] = []
        const interrupt = interruptible(
          (signal) => heard.push(signal),
          () => heard.push('ends'),
          1000,
        )
        process.emit(name)
        process.emit(name)
        interrupt.release()
        const { aborted } = interrupt.signal
        expect({ heard, code: interrupt.exitCode, aborted }).toEqual({ heard: [name], code: exitCode, aborted: true })
        expect(kill).not.toHaveBeenCalled()
        vi.advanceTimersByTime(1000)
        expect(heard).toEqual(endsByItself ? [name, 'ends'] : [name])
        expect(kill.mock.calls).toEqual(endsByItself ? [[process.pid, name]] : [])
        kill.mockClear()
      }
    } finally {
      kill.mockRestore()
      vi.useRealTimers()
    }
  })

  it.skipIf(process.platform === 'win32')(
    'with SIGTERM also ends a process that waits for a pipe nobody writes to',
    async () => {
      const pipe = join(place, 'pipe')
      expect(spawnSync('mkfifo', [pipe]).status).toBe(0)
      const script = `
        import { readFile } from 'node:fs'
        import { interruptible } from ${JSON.stringify(resolve('src/cli/interrupt.ts'))}
        interruptible(() => process.stdout.write('asked'), () => {}, 100)
        readFile(${JSON.stringify(pipe)}, () => {})
        process.stdout.write('waits')
      `
      const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script])
      child.stdout.setEncoding('utf8').on('data', (text) => text === 'waits' && child.kill('SIGTERM'))
      expect(await once(child, 'close')).toEqual([null, 'SIGTERM'])
    },
    30_000,
  )
})

describe('closed standard output, as with `| head -1`,', () => {
  /** Closes it after the first output. */
  async function closedEarly(args: readonly string[]): Promise<Outcome> {
    const child = spawn(process.execPath, [await builtCommand(), ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
    child.stdout.once('data', () => child.stdout.destroy())
    let stderr = ''
    child.stderr.setEncoding('utf8').on('data', (text) => {
      stderr += text
    })
    const [code] = await once(child, 'close')
    return { code, stdout: '', stderr }
  }

  it('does not end a training, but is not a success', async () => {
    const out = join(place, 'unread')
    const { code, stderr } = await closedEarly(['train', 'lenet', '--limit', '640', '--epochs', '1', '--out', out])
    expect({ code, stderr }).toMatchObject({ code: 141, stderr: expect.stringContaining('standard output was closed') })
    expect(await readdir(out)).toEqual(expect.arrayContaining(['model.safetensors', 'report.json']))
  }, 60_000)

  it.skipIf(!existsSync('/dev/full'))(
    'or a full one, makes every command fail',
    async () => {
      const full = await open('/dev/full', 'w')
      try {
        for (const args of [['weights', '--json'], ['--help']]) {
          const child = spawn(process.execPath, [await builtCommand(), ...args], {
            stdio: ['ignore', full.fd, 'ignore'],
          })
          expect([args, ...(await once(child, 'close'))]).toEqual([args, 1, null])
        }
      } finally {
        await full.close()
      }
    },
    30_000,
  )
})

describe('arguments', () => {
  it('that are wrong are refused by name, with exit code 2 and no stack trace', async () => {
    const cases: [string[], string][] = [
      [['--epochs', '0'], '--epochs must be a whole number from 1'],
      [['--epochs', ''], "--epochs must be a whole number from 1 to 10,000, not ''"],
      [['--batch-size', '0x10'], "--batch-size must be a whole number from 1 to 8,192, not '0x10'"],
      [['--learning-rate=-1'], '--learning-rate must be a number above 0'],
      [['--units', '256'], '--units must be the sizes'],
      [['--units', '1,2,3'], '--units must be the sizes'],
      [['--seed', '1.5'], '--seed must be a whole number'],
      [['--split', 'half'], "--split must be 'official' or 'seed', not 'half'"],
      [['--limit', '9'], '--limit must be a whole number of images, at least 10'],
      [['--out', ''], '--out must name a folder'],
      [['--epoch', '3'], 'Did you mean --epochs?'],
      [['more'], 'too many arguments'],
    ]
    for (const [args, words] of cases) {
      const { code, stdout, stderr } = await weftgrad(['train', 'lenet', '--json', ...args])
      expect({ args, code, stdout, stderr }).toMatchObject({
        args,
        code: 2,
        stdout: '',
        stderr: expect.stringContaining(words),
      })
      expect(stderr).not.toMatch(/^ +at /m)
    }
  }, 60_000)

  it('that name an unknown command get a suggestion, whatever follows', async () => {
    for (const [args, words] of [
      [['doctr'], "unknown command 'doctr'. Did you mean 'doctor'?"],
      [['trian', 'lenet'], "unknown command 'trian'. Did you mean 'train'?"],
      [['trian', 'lenet', '--epochs', '3', '--json'], "unknown command 'trian'. Did you mean 'train'?"],
      [['train', 'lent'], "unknown command 'train lent'. Did you mean 'lenet'?"],
      [['weights', 'gte', 'vgg16', '--top'], "unknown command 'weights gte'. Did you mean 'get'?"],
      [['help', 'evalute'], "unknown command 'evalute'. Did you mean 'evaluate'?"],
      [['zzzz'], "unknown command 'zzzz'. `weftgrad --help` lists the commands."],
    ] as const) {
      const { code, stdout, stderr } = await weftgrad(args)
      expect({ args, code, stdout, stderr }).toEqual({ args, code: 2, stdout: '', stderr: `weftgrad: ${words}\n` })
    }
  }, 30_000)

  it('may ask for help and the version', async () => {
    expect(await weftgrad(['--version'])).toMatchObject({ code: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) })
    const help = await weftgrad([])
    for (const name of ['train', 'evaluate', 'predict', 'doctor', 'setup', 'bench']) expect(help.stdout).toContain(name)
    expect(help.code).toBe(0)
    expect(await weftgrad(['help', 'train'])).toMatchObject({ code: 0, stdout: expect.stringContaining('lenet') })
  }, 30_000)

  it('need the packages, and say so if they are missing', async () => {
    const clone = join(place, 'clone')
    await mkdir(join(clone, 'bin'), { recursive: true })
    await symlink(resolve('src'), join(clone, 'src'))
    await writeFile(join(clone, 'bin/weftgrad.mjs'), await readFile(sourceCommand))
    const child = spawn(process.execPath, [join(clone, 'bin/weftgrad.mjs'), 'doctor'], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    let stderr = ''
    for await (const text of child.stderr.setEncoding('utf8')) stderr += text
    expect(stderr).toMatch(/packages are not installed. Run `npm ci` in /)
  }, 30_000)
})

describe('the doctor', () => {
  it('shows the adapter and data found, as text and as JSON, from the sources and from the build', async () => {
    const { code, stdout } = await runCommand(['doctor', '--json'], { program: sourceCommand })
    const diagnosis = JSON.parse(stdout)
    expect(code).toBe(0)
    expect(diagnosis).toMatchObject({ nodeVersion: process.version, data: { published: true, train: 60_000 } })
    const text = await weftgrad(['doctor'])
    expect(text.stdout).toContain(diagnosis.adapter.driver)
    expect(text.stdout).toContain('How to speed things up')
  }, 60_000)
})

describe('an image', () => {
  it('shrinks by averaging what a pixel covers, and grows by interpolating between pixel centres', () => {
    const image = { width: 3, height: 2, channels: 1, data: Uint8Array.of(0, 90, 180, 60, 150, 240) }
    expect(resize(image, { width: 1, height: 1 }).data).toEqual(Uint8Array.of(120))
    // From 3 columns to 2: a pixel covers one and a half.
    expect([...resize(image, { width: 2, height: 1 }).data]).toEqual([60, 180])
    const row = { width: 2, height: 1, channels: 1, data: Uint8Array.of(0, 100) }
    expect([...resize(row, { width: 4, height: 1 }).data]).toEqual([0, 25, 75, 100])
    expect(resize(image, image)).toEqual(image)
    expect(() => resize(image, { width: 0, height: 1 })).toThrow(expect.objectContaining({ code: 'argument' }))
    const flat = { width: 97, height: 31, channels: 3, data: new Uint8Array(97 * 31 * 3).fill(201) }
    for (const size of [28, 64, 200]) {
      expect(resize(flat, { width: size, height: size }).data.every((value) => value === 201)).toBe(true)
    }
  })

  it('becomes grey, keeps its proportions, and is light on black', () => {
    const red = { width: 56, height: 28, channels: 3 as const, data: new Uint8Array(56 * 28 * 3) }
    for (let i = 0; i < red.data.length; i += 3) red.data[i] = 255
    const { pixels } = greySquare(red, { size: 28 })
    const rows = Array.from({ length: 28 }, (_, y) => pixels[y * 28 + 14])
    expect(rows).toEqual(Array.from({ length: 28 }, (_, y) => (y >= 7 && y < 21 ? 76 : 0)))
    // Dark on nothing: transparent parts are background, inverted or not.
    const data = Uint8Array.from({ length: 28 * 28 * 2 }, (_, i) => (i % 2 === 1 && i > 784 ? 255 : 0))
    const clear = { width: 28, height: 28, channels: 2 as const, data }
    expect(greySquare(clear, { size: 28 }).pixels.every((value) => value === 0)).toBe(true)
    expect([...greySquare(clear, { size: 28, invert: true }).pixels.subarray(364, 420)]).toEqual([
      ...Array(28).fill(0),
      ...Array(28).fill(255),
    ])
  })
})

describe('text', () => {
  it('has colours on terminals only, unless NO_COLOR or FORCE_COLOR says otherwise', () => {
    const red = (isTTY: boolean, env: Record<string, string> = {}) => colorsFor({ isTTY }, env).red('x') !== 'x'
    expect([red(true), red(false), red(true, { NO_COLOR: '1' }), red(false, { FORCE_COLOR: '1' })]).toEqual([
      true,
      false,
      false,
      true,
    ])
    expect([red(true, { TERM: 'dumb' }), red(true, { FORCE_COLOR: '0' })]).toEqual([false, false])
  })

  it('leaves a gap between a label and its value, whatever their lengths', () => {
    const lines: string[] = []
    const say = (text = ''): void => void lines.push(text)
    const terminal = { ...openTerminal(), say, colors: colorsFor({ isTTY: false }, {}) }
    for (const label of ['Run', 'Best epoch', 'Fine-tuning', 'A label longer than its column'])
      fact(terminal, label, '2')
    expect(lines).toEqual([
      ...['Run          2', 'Best epoch   2', 'Fine-tuning  2', 'A label longer than its column  2'],
    ])
  })

  it('leaves a gap between the columns of trials, whatever their values', () => {
    const hyperparameters = { units: 123_456_789, rate: 0.000_123_456 }
    const trials = [{ id: 1, bracket: 0, seed: 1, hyperparameters }]
    const bracket = { bracket: 0, rounds: [{ size: 1, epochs: 1 }], trials }
    const rows = trialTable(bracket, new Outcomes(), { colors: colorsFor({ isTTY: false }, {}), columns: 120 })
    expect(rows.at(-1)?.trim().split(/ {2,}/)).toEqual(['1', '123456789', '0.000123456', '0', 'waiting'])
  })

  it('shows times and percentages', () => {
    expect([clock(4.4), clock(61), clock(3723), clock(Number.NaN)]).toEqual(['0:04', '1:01', '1:02:03', '-:--'])
    expect(percent(0.89562)).toBe('89.56\u00a0%')
  })
})
