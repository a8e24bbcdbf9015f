/** The parts of a study: their order, and their names in files and in reports. */
import type { PretrainedName } from '../nn/models/pretrained.ts'
import { type RecipeName, recipeNames } from '../tasks/recipe.ts'
import type { PublishedTask } from '../tasks/task.ts'
import { zoo, zooNames } from '../weights/zoo.ts'

const ownParts = ['eda', 'tune', 'crossval', 'seed', 'best'] as const
/** A part that every study has; `seed` and `best` train the task's network. */
export type OwnPart = (typeof ownParts)[number]
export type StudyPart = OwnPart | PretrainedName

/** The parts that train a head on a pretrained network: one for each network of the task. */
export function networkParts({ transfer }: Pick<PublishedTask, 'transfer'>): readonly PretrainedName[] {
  return zooNames.filter((name) => transfer[name] !== undefined)
}

/** The parts in the order in which they run. The comparison follows automatically. */
export function studyParts(task: Pick<PublishedTask, 'transfer'>): readonly StudyPart[] {
  return [...ownParts, ...networkParts(task)]
}

/** The name of a recipe in reports. */
export function recipeTitle({ published }: Pick<PublishedTask, 'published'>, recipe: RecipeName): string {
  return recipe === 'seed' ? `${published.source}'s recipe` : 'best recipe'
}

/** The name of a part in folders, files and `--skip`. */
export function partName({ network }: Pick<PublishedTask, 'network'>, part: StudyPart): string {
  const recipe = recipeNames.find((one) => one === part)
  return recipe === undefined ? part : `${network.word}-${recipe}`
}

/** The title of a part; for a model, the model's name. */
export function partTitle(task: Pick<PublishedTask, 'network' | 'published'>, part: StudyPart): string {
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
