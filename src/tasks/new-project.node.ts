/** A new project that trains on somebody's own pictures: a short program, a package.json, and a folder to fill. */
import { mkdir, readdir } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import { WeftgradError } from '../errors.ts'
import { writeFileAtomic } from '../format/atomic-write.node.ts'
import { weftgradVersion } from '../runs/versions.node.ts'

const classFolders = ['cat', 'dog']

/**
 * Writes the project. Returns the folder and the names of its files.
 * @throws WeftgradError 'argument' if the folder holds anything, 'file' if it cannot be written.
 */
export async function newProject(
  name: string,
): Promise<{ readonly folder: string; readonly files: readonly string[] }> {
  const folder = resolve(name)
  const there = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return []
    throw cannotWrite(folder, error)
  })
  if (there.length > 0)
    throw new WeftgradError('argument', `${folder} is not empty. Choose another name, or empty the folder.`, { folder })
  const title = basename(folder)
  const files: Readonly<Record<string, string>> = {
    'train.mjs': program,
    'package.json': packageJson(title),
    'README.md': readme(title),
    'pictures/README.md': picturesReadme,
  }
  try {
    for (const name of classFolders) await mkdir(join(folder, 'pictures', name), { recursive: true })
    for (const [name, text] of Object.entries(files)) await writeFileAtomic(join(folder, name), text)
  } catch (error) {
    throw cannotWrite(folder, error)
  }
  return { folder, files: Object.keys(files) }
}

function cannotWrite(folder: string, cause: unknown): WeftgradError {
  const problem = cause instanceof Error ? cause.message : String(cause)
  return new WeftgradError('file', `${folder} cannot be written: ${problem}. Choose another place.`, { folder }, cause)
}

const program = `import { data, nn, open } from 'weftgrad/node'

await open()
const { train, validation } = await data.imageFolder('pictures', { size: 64, channels: 3, split: 0.2 })
const block = (filters) => [nn.conv2d(filters, 3, { padding: 'same', activation: 'relu' }), nn.maxPooling2d()]
const head = [nn.flatten(), nn.dense(64, { activation: 'relu' }), nn.dense(train.classes)]
const model = nn.sequential('pictures', [64, 64, 3], [...block(16), ...block(32), ...block(64), ...head])
const callbacks = { onEpochEnd: ({ epoch, accuracy }) => console.log('epoch', epoch, 'accuracy', accuracy) }
await nn.fit(model, train, { optimizer: nn.adam(), epochs: 20, batchSize: 16, validation, callbacks })
console.log('accuracy on pictures held out:', (await nn.evaluate(model, validation)).accuracy)
await nn.saveModel(model, 'model.safetensors', { classNames: train.classNames })
`

function packageJson(title: string): string {
  const name =
    title
      .toLowerCase()
      .replace(/[^a-z0-9._-]+/g, '-')
      .replace(/^[._-]+/, '') || 'pictures'
  const content = {
    name,
    private: true,
    type: 'module',
    scripts: { train: 'node train.mjs' },
    dependencies: { weftgrad: `^${weftgradVersion()}` },
  }
  return `${JSON.stringify(content, null, 2)}\n`
}

const readme = (title: string): string => `# ${title}

1. Fill \`pictures/\` with a folder of pictures for each class.
2. \`npm install\`
3. \`npm run train\` trains a small network, tells how often it is right on a fifth of the pictures, which it has not
   seen, and writes \`model.safetensors\`.

Without a program: \`npx weftgrad train --images pictures\`, then \`npx weftgrad predict RUN photo.jpg\`, where RUN is the
folder that the training names.
`

const picturesReadme = `# Pictures

A folder for each class, named after it, with its pictures in it: PNG, JPEG, WebP or GIF (GIF needs the package \`sharp\`).
\`${classFolders.join('/` and `')}/\` are examples: fill them, or rename them. Each needs a few dozen pictures. Files
beside the folders, like this one, are not read.
`
