/** Runs the page: opens the session, passes its events to the panels, and routes files that no zone took. */
import type { AdapterSummary, DataSummary, FirstLayer, Listener, Session } from '../session.ts'
import { Announcer } from './announcer.ts'
import { DataPanel } from './data-panel.ts'
import { DeviceBanner } from './device-banner.ts'
import { findAny, setText } from './elements.ts'
import { restOfPage } from './file-drop.ts'
import { commonKind } from './file-kind.ts'
import { InsidePanel } from './inside-panel.ts'
import { ModelPanel } from './model-panel.ts'
import { PhotoPanel } from './photo-panel.ts'
import { isRefusal, RefusalPlace } from './refusals.ts'
import { TrainingPanel } from './training-panel.ts'
import { TryPanel } from './try-panel.ts'
import { showWebGpuHelp } from './webgpu-help.ts'

export async function startPage(session: Session): Promise<void> {
  const announcer = new Announcer()
  const place = new RefusalPlace(findAny('#page-refusal'))
  const inside = new InsidePanel()
  const training = new TrainingPanel(session, announcer)
  const trial = new TryPanel(session, (layer) => inside.show(layer))
  const model = new ModelPanel(session, announcer)
  const photo = new PhotoPanel(session, announcer)
  const banner = new DeviceBanner(() => void training.resume())
  const data = new DataPanel(session, announcer, (summary: DataSummary) => {
    training.dataChanged(summary)
    trial.dataChanged(summary)
  })

  const listener: Listener = {
    state: (state) => {
      training.stateChanged(state)
      banner.stateChanged(state)
    },
    progress: (progress) => training.progressed(progress),
    epoch: (result) => {
      training.epochEnded(result)
      trial.learned()
    },
    firstLayer: (layer: FirstLayer) => {
      inside.show(layer)
      if (training.state.kind === 'running') trial.learned()
    },
    model: (summary) => {
      model.show(summary)
      trial.modelChanged(summary)
    },
    failed: (refusal) => training.failed(refusal),
    deviceLost: (refusal) => banner.lost(refusal),
    adapter: (adapter) => {
      showAdapter(adapter)
      banner.reopened()
    },
    reading: (fraction) => photo.reading(fraction),
  }

  restOfPage((files) =>
    place.attempt(async () => {
      const kind = commonKind(files)
      const [file] = files
      if (kind === 'data') await data.useFiles(files)
      if (file === undefined) return
      if (kind === 'model') await model.load(file)
      if (kind === 'photo-network') await photo.loadWeights(file)
      if (kind === 'picture') await trial.useFile(file)
      if (kind === 'class-index') await photo.useClassIndex(file)
    }),
  )

  try {
    showAdapter(await session.open(listener))
  } catch (error) {
    if (!isRefusal(error) || error.code !== 'no-adapter') throw error
    showWebGpuHelp(error.message)
    return
  }
  findAny('#panels').hidden = false
  findAny('#foot').hidden = false
  await data.useSample()
}

function showAdapter({ description, driver, hardware }: AdapterSummary): void {
  const element = findAny('#adapter')
  setText(element, `Running on ${hardware ? 'GPU' : 'CPU'} (${driver}${hardware ? '' : ', software'})`)
  element.classList.toggle('software', !hardware)
  element.title = hardware ? description : `${description}. Without a GPU everything works, slowly.`
  element.hidden = false
}
