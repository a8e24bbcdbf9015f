/** `weftgrad classify PICTURE...`: names ImageNet's five most probable classes for each picture. */
import { classifyPictures } from '../transfer/classify.node.ts'
import { areWeightsMissing } from '../transfer/pretrained-base.node.ts'
import { zooNameOf } from '../weights/zoo.ts'
import { reportFailure } from './failure.ts'
import { meaninglessText } from './feature-text.ts'
import { sayPredictions } from './predict.ts'
import { openTerminal } from './terminal.ts'

export interface ClassifyCommandOptions {
  readonly model: string
  readonly weights?: string
  readonly json?: boolean
}

/** Sets the exit code: 0; 1 if a picture cannot be read; 2 for bad arguments and missing weights. */
export async function classifyCommand(
  pictures: readonly string[],
  { model, weights, json }: ClassifyCommandOptions,
): Promise<void> {
  const terminal = openTerminal({ json })
  const options = { model: zooNameOf(model), onNote: terminal.note, ...(weights === undefined ? {} : { weights }) }
  try {
    const result = await classifyPictures(pictures, options)
    if (result.meaningless) terminal.note(terminal.noteColors.yellow(meaninglessText))
    sayPredictions(result.predictions, result.failed, terminal)
    if (json) terminal.json(result)
  } catch (error) {
    const code = reportFailure(error)
    process.exitCode = areWeightsMissing(error) ? 2 : code
  }
}
