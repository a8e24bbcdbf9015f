/** Commands on somebody's own pictures, as a user meets them. */
import { mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readCheckpoint } from '../src/nn/callbacks.node.ts'
import { builtCommand } from './support/built-package.ts'
import { type Outcome, runCommand } from './support/command.ts'
import { flower, writeFlowers } from './support/flower-folder.ts'

let place = ''
let flowers = ''
let run = ''
let trained: Outcome
/** Everything that was printed. */
let told = ''
/** In the user's cache: features of pictures that nobody else has. */
const folders = new Set<string>()

async function weftgrad(...args: readonly string[]): Promise<Outcome> {
  const outcome = await runCommand(args, { cwd: place, env: { WEFTGRAD_NO_SETUP: '1' } })
  told += outcome.stdout + outcome.stderr
  for (const [folder] of told.matchAll(/[^" (]*\/features\/vgg16-32-[0-9a-f]+/g)) folders.add(folder)
  return outcome
}

beforeAll(async () => {
  place = await mkdtemp(join(tmpdir(), 'weftgrad-pictures-'))
  // Nobody can tell pinks from roses here: there will be errors.
  flowers = await writeFlowers(join(place, 'flowers'), 10, { kinds: { daisy: 0, pink: 1, rose: 1 } })
  run = join(place, 'run')
  await builtCommand()
  const changes = [
    '--vertical-flips',
    '--flips',
    '--rotation',
    '20',
    '--zoom',
    '0.1',
    '--contrast',
    '0.2',
    '--cutout',
    '2',
  ]
  trained = await weftgrad(
    'train',
    '--images',
    flowers,
    '--size',
    '8',
    '--epochs',
    '4',
    ...changes,
    '--out',
    run,
    '--json',
  )
}, 600_000)
afterAll(async () => {
  for (const folder of [place, ...folders]) await rm(folder, { recursive: true, force: true })
})

describe('training on a folder of pictures', () => {
  it('writes a run with their names, and the worst errors with their pictures', async () => {
    expect({ code: trained.code, stderr: trained.stderr }).toMatchObject({ code: 0 })
    for (const words of [
      'pictures in flowers: 24 images to train, 6 to test',
      'small-cnn: [batch, 8, 8, 3]',
      'Worst errors',
    ])
      expect(trained.stderr).toContain(words)
    const config = JSON.parse(await readFile(join(run, 'config.json'), 'utf8'))
    expect(config).toMatchObject({
      ...{ task: 'pictures', pictures: { size: 8, channels: 3, classNames: ['daisy', 'pink', 'rose'] } },
      data: { folder: flowers, fingerprint: expect.stringMatching(/^sha256:/), train: 24, test: 6 },
    })
    // What changed the images is in the run, and in the checkpoint of its training.
    const augmentation = { verticalFlips: true, rotation: 20, zoom: 0.1, contrast: 0.2, brightness: 0, cutout: 2 }
    expect(config.recipe).toMatchObject({ ...augmentation, flips: true, shift: 0 })
    const { settings } = readCheckpoint(join(run, 'checkpoint.safetensors'))
    expect(settings.augmentation).toMatch(/^augment .*"flipHorizontal":0.5,"flipVertical":0.5,.*"rotation":20/)
    const [head, ...rows] = (await readFile(join(run, 'predictions.csv'), 'utf8')).trimEnd().split('\n')
    expect([head, rows.length]).toEqual(['index,label,predicted,picture', 6])
    expect(rows[0]).toMatch(/^0,0,[0-2],"daisy\/\d\.png"$/)
    const { errors } = JSON.parse(await readFile(join(run, 'report.json'), 'utf8'))
    const [worst] = errors.worst
    expect(worst.name).toMatch(/^(daisy|pink|rose)\/\d\.png$/)
    const svg = await readFile(join(run, 'errors.svg'), 'utf8')
    expect(svg).toContain(`>${worst.name}</text>`)
    expect(svg.match(/<image /g)).toHaveLength(errors.worst.length)
  })

  it('is told in the help, with the options of pictures', async () => {
    const { stdout } = await weftgrad('train', '--images', flowers, '--help')
    const changes = [
      '--flips',
      '--vertical-flips',
      '--rotation <x>',
      '--zoom <x>',
      '--contrast <x>',
      '--brightness <x>',
    ]
    for (const words of ['pictures in flowers', '--size <n>', '--channels <n>', ...changes, '--cutout <n>'])
      expect(stdout).toContain(words)
    expect(stdout).not.toContain('--data-dir')
  })

  it('refuses bad options before anything is done', async () => {
    for (const [args, words] of [
      [['--images', flowers, '--size', '4'], '--size must be'],
      [['--images', flowers, '--channels', '2'], '--channels must be 1 or 3'],
      [['--images', ''], '--images must name a folder'],
      [['--images', flowers, '--epochs', 'many'], '--epochs must be'],
      [['--images', flowers, '--rotation', '181'], '--rotation must be a number of degrees from 0 to 180'],
      [['--images', flowers, '--cutout', '0.5'], '--cutout must be a whole number of pixels'],
    ] as const) {
      const { code, stdout, stderr } = await weftgrad('train', ...args)
      expect({ args, code, stdout }).toEqual({ args, code: 2, stdout: '' })
      expect(stderr).toContain(words)
    }
  }, 120_000)
})

describe('a run on pictures', () => {
  it('classifies files, and names those that are no pictures without losing the others', async () => {
    const [photo, bad, absent] = ['photo.png', 'bad.jpg', 'absent.png'].map((name) => join(place, name)) as [
      string,
      string,
      string,
    ]
    await writeFile(photo, flower(0, 77))
    await writeFile(bad, 'not a picture')
    const { code, stdout, stderr } = await weftgrad('predict', run, bad, photo, absent, '--json')
    expect(code).toBe(1)
    const { predictions, failed } = JSON.parse(stdout)
    expect(predictions).toMatchObject([{ image: photo, class: 'daisy', label: 0 }])
    const [{ top, probabilities }] = predictions
    expect(top.map((one: { class: string }) => one.class).sort()).toEqual(['daisy', 'pink', 'rose'])
    expect(top[0]).toEqual({ class: 'daisy', probability: Math.max(...Object.values<number>(probabilities)) })
    expect(failed.map((one: { image: string }) => one.image)).toEqual([bad, absent])
    for (const path of [bad, absent]) expect(stderr).toContain(path)
    const alone = await weftgrad('predict', run, photo)
    expect([alone.code, alone.stdout]).toEqual([0, expect.stringMatching(/photo\.png: daisy\n +daisy +\d/)])
  }, 120_000)

  it('is evaluated on its own pictures, also where they have moved to', async () => {
    const moved = join(place, 'moved')
    await rename(flowers, moved)
    const { code, stdout, stderr } = await weftgrad('evaluate', run, '--images', moved, '--json')
    await rename(moved, flowers)
    expect({ code, stderr }).toMatchObject({ code: 0 })
    expect(JSON.parse(stdout).test).toEqual(JSON.parse(trained.stdout).test)
    expect(stderr).not.toContain('other data')
  }, 120_000)

  it('is not resumed with a changed picture or another size, and is with the same pictures', async () => {
    await rm(join(run, 'report.json'))
    const picture = join(flowers, 'rose/3.png')
    const before = await readFile(picture)
    await writeFile(picture, flower(2, 3))
    const changed = await weftgrad('train', '--resume', run)
    await writeFile(picture, before)
    expect(changed).toMatchObject({ code: 1, stderr: expect.stringContaining('holds other data') })
    expect(changed.stderr).toContain('--images')
    const larger = await weftgrad('train', '--resume', run, '--size', '16')
    expect(larger).toMatchObject({ code: 1, stderr: expect.stringContaining('--size 8, not 16') })
    const again = await weftgrad('train', '--resume', run, '--json')
    expect({ code: again.code, stderr: again.stderr }).toMatchObject({ code: 0 })
    expect(JSON.parse(again.stdout).test).toEqual(JSON.parse(trained.stdout).test)
  }, 120_000)
})

describe('other commands on a folder of pictures', () => {
  const hashed = ['--size', '32', '--weights', 'hashed', '--layers', 'block1_pool']

  it('transfer trains a head in colour and fine-tunes, and its run classifies', async () => {
    const out = join(place, 'head')
    const more = ['--unfreeze', 'block1_conv2', '--epochs', '2', '--fine-tune-epochs', '1', '--out', out]
    const { code, stdout, stderr } = await weftgrad(
      'transfer',
      'vgg16',
      '--images',
      flowers,
      ...hashed,
      ...more,
      '--json',
    )
    expect({ code, stderr }).toMatchObject({ code: 0 })
    expect(JSON.parse(stdout)).toMatchObject({
      ...{ size: 32, images: { train: 22, validation: 2, test: 6 }, features: { width: 64 } },
      fineTuning: { from: 'block1_conv2' },
    })
    expect(await readdir(out)).toEqual(
      expect.arrayContaining(['config.json', 'errors.svg', 'predictions.csv', 'curves.svg']),
    )
    const predicted = await weftgrad('predict', out, join(flowers, 'daisy/0.png'), '--json')
    expect({ code: predicted.code, stderr: predicted.stderr }).toMatchObject({ code: 0 })
    expect(JSON.parse(predicted.stdout).predictions[0].top).toHaveLength(3)
  }, 300_000)

  it('features computes them once for all runs', async () => {
    const { code, stdout } = await weftgrad('features', 'vgg16', '--images', flowers, ...hashed, '--json')
    expect(code).toBe(0)
    expect(JSON.parse(stdout).features).toMatchObject({ count: 30, width: 64, cached: true })
  }, 120_000)

  it('tune and crossval train the small network', async () => {
    const tuned = await weftgrad(
      ...[
        'tune',
        '--images',
        flowers,
        '--size',
        '8',
        '--method',
        'random',
        '--trials',
        '1',
        '--max-epochs',
        '1',
        '--json',
      ],
    )
    expect({ code: tuned.code, stderr: tuned.stderr }).toMatchObject({ code: 0 })
    expect(Object.keys(JSON.parse(tuned.stdout).best.hyperparameters)).toEqual(['units', 'learning_rate'])
    const folds = await weftgrad(
      ...['crossval', '--images', flowers, '--size', '8', '--folds', '2', '--epochs', '1', '--carry-over', '--json'],
    )
    expect({ code: folds.code, stderr: folds.stderr }).toMatchObject({ code: 0 })
    expect(JSON.parse(folds.stdout)).toMatchObject({
      model: 'small-cnn',
      honest: { folds: [{ fold: 1 }, { fold: 2 }] },
    })
  }, 300_000)

  it('eda explores them in grey, and refuses colour and a CSV', async () => {
    const { code, stdout, stderr } = await weftgrad('eda', '--images', flowers, '--size', '8', '--json')
    expect({ code, stderr }).toMatchObject({ code: 0 })
    expect(JSON.parse(stdout)).toMatchObject({
      source: { kind: 'pictures' },
      height: 8,
      sets: [{ rows: 24 }, { rows: 6 }],
    })
    for (const args of [
      ['--channels', '3'],
      ['--csv', 'a.csv'],
    ])
      expect((await weftgrad('eda', '--images', flowers, ...args)).code).toBe(2)
  }, 120_000)
})

it('nothing printed or written about pictures names the published data, its network or its sizes', async () => {
  const texts = [told]
  for (const folder of ['run', 'head', ...(await readdir(join(place, 'runs'))).map((name) => join('runs', name))])
    for (const name of await readdir(join(place, folder)))
      if (/\.(json|jsonl|csv|svg)$/.test(name)) texts.push(await readFile(join(place, folder, name), 'utf8'))
  expect(texts.length).toBeGreaterThan(10)
  for (const text of texts)
    expect(text.replace(/base64,[^"]*/g, '')).not.toMatch(
      /.*(fashion|t-shirt|ankle boot|le-?net|garment|28x28|60[,_]000).*/i,
    )
})
