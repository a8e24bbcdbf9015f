/** `weftgrad new`: the project that it writes, run by plain Node in an empty place with the built package linked into it. */
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, expect, it } from 'vitest'
import { loadModel } from '../src/nn/model-file.node.ts'
import { builtPackage } from './support/built-package.ts'
import { runCommand } from './support/command.ts'
import { writeFlowers } from './support/flower-folder.ts'

const place = await mkdtemp(join(tmpdir(), 'weftgrad-new-'))
afterAll(() => rm(place, { recursive: true, force: true }))

it('writes a program that trains on the pictures put into its folder', async () => {
  const made = await runCommand(['new', 'My Flowers', '--json'], { cwd: place })
  expect({ code: made.code, stderr: made.stderr }).toMatchObject({ code: 0 })
  const folder = join(place, 'My Flowers')
  const { files } = JSON.parse(made.stdout)
  expect(files).toEqual(['train.mjs', 'package.json', 'README.md', 'pictures/README.md'])
  for (const name of ['pictures/cat', 'pictures/dog']) expect((await stat(join(folder, name))).isDirectory()).toBe(true)
  const { name, scripts, dependencies } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'))
  expect([name, scripts.train, Object.keys(dependencies)]).toEqual(['my-flowers', 'node train.mjs', ['weftgrad']])

  for (const kind of ['cat', 'dog']) await rm(join(folder, 'pictures', kind), { recursive: true })
  await writeFlowers(join(folder, 'pictures'), 6)
  await mkdir(join(folder, 'node_modules'))
  await symlink(await builtPackage(), join(folder, 'node_modules/weftgrad'))
  const env = { ...process.env, WEFTGRAD_TUNE: '0' }
  const { stdout } = await promisify(execFile)(process.execPath, ['train.mjs'], { cwd: folder, env })
  expect(stdout).toContain('epoch 20 accuracy')
  expect(stdout).toMatch(/held out: (0|1|0\.\d+)\n/)
  const { model, classNames } = await loadModel(join(folder, 'model.safetensors'))
  using placed = model
  expect([placed.outputShape, classNames]).toEqual([[3], ['daisy', 'rose', 'tulip']])
}, 600_000)

it('refuses a folder that holds something, and leaves it as it is', async () => {
  const folder = join(place, 'full')
  await mkdir(folder)
  await writeFile(join(folder, 'notes.txt'), 'mine')
  const { code, stdout, stderr } = await runCommand(['new', folder])
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
  expect(stderr).toContain('is not empty')
  await expect(stat(join(folder, 'train.mjs'))).rejects.toThrow()
  expect((await runCommand(['new', join(folder, 'notes.txt')])).code).toBe(1)
}, 120_000)
