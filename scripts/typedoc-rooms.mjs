/**
 * Sorts the API reference into categories by the room and file that a name comes from, so that no comment has to say it.
 * A `@category` in a comment wins.
 */
import { CommentTag, Converter, ReflectionKind } from 'typedoc'

/** The first that a file's path ends in, or leads through, decides. */
const rooms = [
  ['src/operators/index.ts', 'Operators'],
  ['src/operators/operator.ts', 'Operators'],
  ['src/operators/window.ts', 'Operators'],
  ['src/autograd/grad.ts', 'Gradients'],
  ['src/autograd/define-op.ts', 'Custom operators'],
  ['src/autograd/', 'Tensors'],
  ['src/kernels/training/gather-batch.ts', 'Data'],
  ['src/kernels/kernel.ts', 'Custom operators'],
  ['src/graph/node.ts', 'Tensors'],
  ['src/graph/plan/plan.ts', 'Tensors'],
  ['src/graph/', 'Kernel tuning'],
  ['src/nn/tuning-store.node.ts', 'Kernel tuning'],
  ['src/gpu/', 'Devices'],
  ['src/errors.ts', 'Errors'],
  ['src/nn/layers', 'Layers'],
  ['src/nn/initializers.ts', 'Layers'],
  ['src/random.ts', 'Layers'],
  ['src/nn/models/pretrained', 'Pretrained networks'],
  ['src/nn/preprocessing.ts', 'Pretrained networks'],
  ['src/nn/model', 'Models'],
  ['src/nn/wiring.ts', 'Models'],
  ['src/nn/freeze.ts', 'Models'],
  ['src/tasks/fashion-mnist-lenet5', 'Models'],
  ['src/nn/evaluate.ts', 'Evaluation'],
  ['src/nn/metrics.ts', 'Evaluation'],
  ['src/nn/', 'Training'],
  ['src/weights/', 'Weights'],
  ['src/format/weight', 'Weights'],
  ['src/data/', 'Data'],
  ['src/format/', 'Data'],
]

/** Shapes and dtypes stand among the kernels, but belong to tensors. */
const exceptions = { Shape: 'Tensors', DType: 'Tensors', Evaluation: 'Evaluation' }

/** @param {import('typedoc').Application} app */
export function load(app) {
  app.converter.on(Converter.EVENT_RESOLVE_BEGIN, ({ project }) => {
    for (const reflection of project.getReflectionsByKind(ReflectionKind.SomeExport | ReflectionKind.SomeModule)) {
      const isListed = reflection.parent?.kindOf(ReflectionKind.SomeModule | ReflectionKind.Project)
      if (isListed) categorize(project, reflection)
    }
  })
}

function categorize(project, reflection) {
  const holder = reflection.signatures?.[0] ?? reflection
  const category = categoryOf(project, reflection)
  // What has no comment gets none: it would count as documented.
  if (category === undefined || !holder.comment || holder.comment.getTag('@category')) return
  holder.comment.blockTags.push(new CommentTag('@category', [{ kind: 'text', text: category }]))
}

function categoryOf(project, reflection) {
  if (reflection.kindOf(ReflectionKind.Module)) return 'API reference'
  if (reflection.kindOf(ReflectionKind.Namespace)) return 'Namespaces'
  const file = project.getSymbolIdFromReflection(reflection)?.fileName ?? ''
  const path = file.replaceAll('\\', '/')
  return exceptions[reflection.name] ?? rooms.find(([place]) => path.includes(place))?.[1]
}
