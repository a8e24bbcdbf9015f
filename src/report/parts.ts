/** The parts of a study: their order, and what files and people call them. */
import type { PretrainedName } from '../nn/models/pretrained.ts'
import { type RecipeName, recipeNames } from '../tasks/recipe.ts'
import type { Task } from '../tasks/task.ts'
import { zoo } from '../weights/zoo.ts'

/** In the order in which they run; `seed` and `best` train the task's network. The comparison follows by itself. */
export const studyParts = ['eda', 'tune', 'crossval', 'seed', 'best', 'vgg16', 'xception', 'resnet152v2'] as const
export type StudyPart = (typeof studyParts)[number]

export const networkParts: readonly PretrainedName[] = ['vgg16', 'xception', 'resnet152v2']

/** What a recipe is called in reports. */
export function recipeTitle({ published }: Pick<Task, 'published'>, recipe: RecipeName): string {
  return recipe === 'seed' ? `${published.source}'s recipe` : 'best recipe'
}

/** As folders, files and `--skip` name a part. */
export function partName({ network }: Pick<Task, 'network'>, part: StudyPart): string {
  const recipe = recipeNames.find((one) => one === part)
  return recipe === undefined ? part : `${network.word}-${recipe}`
}

/** Those of models name the model. */
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
