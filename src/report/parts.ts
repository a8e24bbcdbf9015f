/** The parts of a study: their order, and their names in files and in reports. */
import type { PretrainedName } from '../nn/models/pretrained.ts'
import { type RecipeName, recipeNames } from '../tasks/recipe.ts'
import type { Task } from '../tasks/task.ts'
import { zoo } from '../weights/zoo.ts'

/**
 * The parts in the order in which they run; `seed` and `best` train the task's network. The comparison follows
 * automatically.
 */
export const studyParts = ['eda', 'tune', 'crossval', 'seed', 'best', 'vgg16', 'xception', 'resnet152v2'] as const
export type StudyPart = (typeof studyParts)[number]

export const networkParts: readonly PretrainedName[] = ['vgg16', 'xception', 'resnet152v2']

/** The name of a recipe in reports. */
export function recipeTitle({ published }: Pick<Task, 'published'>, recipe: RecipeName): string {
  return recipe === 'seed' ? `${published.source}'s recipe` : 'best recipe'
}

/** The name of a part in folders, files and `--skip`. */
export function partName({ network }: Pick<Task, 'network'>, part: StudyPart): string {
  const recipe = recipeNames.find((one) => one === part)
  return recipe === undefined ? part : `${network.word}-${recipe}`
}

/** The title of a part; for a model, the model's name. */
export function partTitle(task: Pick<Task, 'network' | 'published'>, part: StudyPart): string {
  switch (part) {
    case 'eda':
      return 'Data exploration'
    case 'tune':
      return 'Tuning'
    case 'crossval':
      return 'Cross-validation'
    case 'seed':
    case 'best':
      return `${task.network.title} (${recipeTitle(task, part)})`
    default:
      return zoo[part].title
  }
}
