/** Connects the page to the session in the worker. */
import { proxy, type Remote, transfer, wrap } from 'comlink'
import type { Session } from '../session.ts'

/** @param failed is called if the worker itself cannot run. */
export function connect(failed: (reason: string) => void): Session {
  const worker = new Worker(new URL('../worker/main.ts', import.meta.url), { type: 'module', name: 'weftgrad' })
  worker.addEventListener('error', (event) => failed(event.message || 'its file could not be loaded'))
  worker.addEventListener('messageerror', () => failed('a message could not be read'))
  const remote: Remote<Session> = wrap<Session>(worker)
  return {
    open: (listener) => remote.open(proxy(listener)),
    useSample: () => remote.useSample(),
    useFiles: (files) => remote.useFiles(files),
    train: (settings) => remote.train(settings),
    pause: (reason) => remote.pause(reason),
    resume: () => remote.resume(),
    setLearningRate: (rate) => remote.setLearningRate(rate),
    classify: (pixels) => remote.classify(pixels),
    watch: (pixels) => remote.watch(pixels),
    loadModel: (file) => remote.loadModel(file),
    saveModel: (format) => remote.saveModel(format),
    loadVgg16: (file) => remote.loadVgg16(file),
    describePhoto: (photo, classIndex) => remote.describePhoto(transfer(photo, [photo]), classIndex),
    destroyDevice: () => remote.destroyDevice(),
  }
}
