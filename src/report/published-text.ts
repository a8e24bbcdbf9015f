/** What the published study did otherwise, and what it reported, in three sentences. The figures select the words. */
import { count, listed, percent } from '../numbers.ts'
import { type PublishedTask, transferDefaults } from '../tasks/task.ts'
import { zoo } from '../weights/zoo.ts'
import { networkParts } from './parts.ts'
import { resultOf, type StudyReport } from './study-report.ts'

export function publishedStudyText({ parts }: StudyReport, task: PublishedTask): string[] {
  const { published, data, recipes, search, network } = task
  const { source, accuracies, carryOver, trainImages, testImages } = published
  const own = resultOf(parts, 'crossval')
  const fresh = own === undefined ? '' : `, which gives ${percent(own.honest.accuracy.mean)}`
  const networks = networkParts(task)
  const reported = networks
    .filter((name) => accuracies[name] !== undefined)
    .sort((a, b) => (accuracies[b] ?? 0) - (accuracies[a] ?? 0))
    .map((name) => `${percent(accuracies[name])} with ${zoo[name].title}`)
  const sizes = networks.map((name) => {
    const size = resultOf(parts, name)?.report.size ?? transferDefaults(task, name).size
    return `${size}x${size} for ${zoo[name].title}`
  })
  return [
    `The study repeated here is a published ${source} on ${data.title} with its published split, ${count(trainImages)} images to train and ${count(testImages)} to test: ${network.title} with Adam for ${recipes.seed.train.epochs} epochs, after a Hyperband search of up to ${search.maxEpochs} epochs per trial.`,
    `Its cross-validation carried one model from fold to fold, so that it was validated on images it had been trained on, and reported ${percent(carryOver, 0)}; here every fold trains a fresh model${fresh}.`,
    `It took the features of the pretrained networks from their last layers and reported ${listed(reported)}; here they come from earlier layers, of images enlarged to ${listed(sizes)}.`,
  ]
}
