/** The comparison of models, whose sentences must match the figures; the plan of a study and its clock. */

import { describe, expect, it } from 'vitest'
import { nn } from '../src/index.ts'
import { pretrained } from '../src/nn/models/pretrained.ts'
import { multiplyAdds } from '../src/nn/work.ts'
import { type CommentaryContext, commentary } from '../src/report/commentary.ts'
import { compareModels, isSignificant, type MeasuredModel, pairOf } from '../src/report/comparison.ts'
import { studyParts } from '../src/report/parts.ts'
import { writtenPlan } from '../src/report/study-report.ts'
import { StudyClock } from '../src/study/clock.ts'
import { commandOf, fullPlan, leftOut, partsNamed, planIn, quickPlan } from '../src/study/plan.ts'
import { fashionMnistLenet5 as task } from '../src/tasks/fashion-mnist-lenet5.node.ts'
import { type PublishedTask, transferDefaults } from '../src/tasks/task.ts'
import { usedMultiplyAdds, usedParameters } from '../src/transfer/features.ts'
import { measured } from './support/study-report.ts'

const alone: CommentaryContext = { quick: false, crossval: undefined }
const said = (models: readonly MeasuredModel[], context = alone): string =>
  commentary(compareModels(models, task), task, context).join('\n').replaceAll('\u00a0', ' ')

/** `measured` gets the first images wrong, so of two models the worse one is wrong wherever the better one is. */
describe('the comparison', () => {
  it('tests every model against the LeNet-5 of the notebook', () => {
    const { models, baseline, leaders, pairs } = compareModels(
      [measured('lenet-seed', 1000, 100), measured('lenet-best', 1000, 80), measured('vgg16', 1000, 60)],
      task,
    )
    expect({ baseline, leaders }).toEqual({ baseline: 'lenet-seed', leaders: ['vgg16'] })
    // 900 of 1000 by Wilson, computed by hand: (0.9 + 1.9207/1000 ± 1.96 sqrt(0.09/1000 + 0.9604/1000²)) / (1 +
    // 3.8415/1000)
    expect(models[0]?.interval.low).toBeCloseTo(0.8798, 3)
    expect(models[0]?.interval.high).toBeCloseTo(0.9171, 3)
    expect(models.map((model) => model.notebook)).toEqual([null, null, 0.8839])
    expect(pairs).toHaveLength(3)
  })

  it('uses only the images that all models were tested on', () => {
    // On its first 500 images LeNet-5 has 80 %, on all 1000 it has 90 %.
    const comparison = compareModels([measured('lenet-seed', 1000, 100), measured('vgg16', 500, 75)], task)
    const [lenet, vgg16] = comparison.models
    expect(lenet).toMatchObject({ testImages: 500, ownTestImages: 1000, test: { accuracy: 0.8, loss: null } })
    expect(lenet?.interval.high).toBeLessThan(0.84)
    expect(vgg16).toMatchObject({ testImages: 500, ownTestImages: 500, test: { accuracy: 0.85, loss: 0.3 } })
    expect(comparison.leaders).toEqual(['vgg16'])
    const text = said([measured('lenet-seed', 1000, 100), measured('vgg16', 500, 75)])
    expect(text).toContain("'s pretrained features beat lenet-seed by 5.0 points")
    expect(text).toContain('compared on the 500 test images that each of them was tested on')
    // The notebook's interval is over 10,000 images.
    expect(text).toContain("vgg16 reaches 85.00 % on 500 images; the notebook's 88.39 % is on 10,000")
  })

  it('counts both sides of a pair', () => {
    const comparison = compareModels([measured('lenet-seed', 1000, 100), measured('vgg16', 500, 30)], task)
    expect(pairOf(comparison, 'vgg16', 'lenet-seed')).toMatchObject({ images: 500, onlyFirst: 70, onlySecond: 0 })
    expect(pairOf(comparison, 'lenet-seed', 'vgg16')).toMatchObject({ images: 500, onlyFirst: 0, onlySecond: 70 })
  })

  it("corrects the tests against the baseline by Holm's rule, and no others", () => {
    const { pairs } = compareModels(
      [
        measured('lenet-seed', 1000, 100),
        measured('lenet-best', 1000, 94),
        measured('vgg16', 1000, 92),
        measured('xception', 1000, 91),
      ],
      task,
    )
    // With six, eight and nine disagreements, all on one side, the exact test gives 2/2^6, 2/2^8 and 2/2^9.
    const against = (first: string) => pairs.find((pair) => pair.first === first && pair.second === 'lenet-seed')
    expect(against('xception')?.adjusted).toBeCloseTo(3 / 256, 10)
    expect(against('vgg16')?.adjusted).toBeCloseTo(2 / 128, 10)
    expect(against('lenet-best')?.adjusted).toBeCloseTo(1 / 32, 10)
    expect(pairs.filter(({ second }) => second !== 'lenet-seed').every(({ adjusted }) => adjusted === null)).toBe(true)
  })

  it('of models without common images has no test', () => {
    const later = measured('vgg16', 100, 10)
    const indices = later.predictions.indices.map((index) => index + 5000)
    const models = [measured('lenet-seed', 100, 20), { ...later, predictions: { ...later.predictions, indices } }]
    expect(compareModels(models, task).pairs).toEqual([])
    expect(said(models)).toContain('their difference cannot be tested')
    expect(said(models)).not.toContain('points')
  })
})

describe('the commentary', () => {
  it('reports a lead only if it is more than chance', () => {
    const clear = said([measured('lenet-seed', 1000, 100), measured('vgg16', 1000, 50)])
    expect(clear).toContain('The lead is significant')
    expect(clear).toContain("'s pretrained features beat lenet-seed by 5.0 points")
    const open = said([measured('lenet-seed', 1000, 100), measured('vgg16', 1000, 98)])
    expect(open).toContain('The difference is not significant')
    expect(open).toContain('The difference of 0.2 points is not significant')
  })

  it('names no best model if the test finds no difference', () => {
    const level = [measured('lenet-seed', 1000, 100), measured('vgg16', 1000, 50), measured('xception', 1000, 48)]
    expect(compareModels(level, task).leaders).toEqual(['xception', 'vgg16'])
    expect(said(level)).toContain('No single model is best: these test images cannot separate vgg16 and xception.')
    expect(said(level.slice(0, 2))).not.toContain('No single model')
  })

  it("counts the parameters that run, not those of a network's unused end", () => {
    const [lenet, xception] = [measured('lenet-seed', 1000, 100), measured('xception', 1000, 50)]
    const text = said([lenet, { ...xception, parameters: 30 * lenet.parameters, layers: ['add_2'] }])
    expect(text).toContain(', up to add_2 and in its head')
    expect(text).toContain('The price is 30 times as many parameters.')
    expect(usedParameters(pretrained.xception.build({ size: 71 }), ['add_2'])).toBe(1_113_624)
    const vgg16 = pretrained.vgg16.build({ size: 32 })
    expect(usedParameters(vgg16, ['block2_pool', 'block3_pool'])).toBe(1_735_488)
    expect(usedParameters(vgg16, ['block5_pool'])).toBe(vgg16.parameterCount)
  })

  it('says what the seeds show: the spread if there were several, else that there was one', () => {
    const once = [measured('lenet-seed', 1000, 100), measured('vgg16', 1000, 90)]
    expect(said(once)).toContain('trained once, with one seed')
    const text = said(once.map((model) => ({ ...model, otherSeeds: [0.92, 0.88] })))
    expect(text).not.toContain('trained once')
    // 0.90, 0.92 and 0.88: mean 0.90, standard deviation 0.02.
    expect(text).toContain('lenet-seed 90.00 % ± 2.00 %, from 88.00 % to 92.00 % in 3 trainings')
  })

  it('counts the multiply-adds of the layers that run', () => {
    // torchvision gives 15.47 billion for VGG16 with its dense layers; its convolutions have these.
    const vgg16 = pretrained.vgg16.build({ size: 224 })
    expect(multiplyAdds(vgg16.layers)).toBe(15_346_630_656)
    expect(usedMultiplyAdds(vgg16, ['block5_pool'])).toBe(15_346_630_656)
    // The first two convolutions: 224 x 224 positions of 3 x 3 x 3 x 64, then of 3 x 3 x 64 x 64 numbers.
    expect(usedMultiplyAdds(vgg16, ['block1_pool'])).toBe(224 ** 2 * 9 * (3 * 64 + 64 * 64))
    // 3 x 3 for each of 4 channels, then 4 x 6, at 8 x 8 positions; a dense layer's kernel once.
    const layers = [nn.separableConv2d('a', 6, 3, { padding: 'same' }), nn.flatten('b'), nn.dense('c', 5)]
    const small = nn.sequential('small', [8, 8, 4], layers, { seed: 1 })
    expect(multiplyAdds(small.layers)).toBe(64 * (9 * 4 + 4 * 6) + 8 * 8 * 6 * 5)
  })

  it('follows the figures: the small network may win', () => {
    const text = said([measured('lenet-seed', 10_000, 500), measured('vgg16', 10_000, 2000)])
    expect(text).toContain('lenet-seed has the highest test accuracy: 95.00 %')
    expect(text).toContain('The small network leads by 15.0 points')
    expect(text).toContain('vgg16 reaches 80.00 %, in the notebook 88.39 %, 8.4 points more')
    expect(said([measured('lenet-seed', 10_000, 500), measured('vgg16', 10_000, 1150)])).toContain(
      'in the notebook 88.39 %, which is inside the interval: the difference may be chance',
    )
  })

  it("says whether the notebook's order of the networks holds", () => {
    const networks = (vgg16: number, resnet: number, xception: number) => [
      measured('lenet-seed', 1000, 100),
      measured('vgg16', 1000, vgg16),
      measured('xception', 1000, xception),
      measured('resnet152v2', 1000, resnet),
    ]
    expect(said(networks(50, 100, 200))).toContain('vgg16, resnet152v2, xception, holds here too.')
    const other = said(networks(50, 200, 52))
    expect(other).toContain('does not hold here: it is vgg16, xception, resnet152v2')
    expect(other).toContain('There is no significant difference between vgg16 and xception.')
    expect(said(networks(50, 200, 52).slice(0, 2))).not.toContain("The notebook's order")
  })

  it('says how much the recipe gains', () => {
    const pair = (best: number) => [measured('lenet-seed', 1000, 100), measured('lenet-best', 1000, best)]
    expect(said(pair(60))).toContain('gains 4.0 points')
    expect(said(pair(140))).toContain('loses 4.0 points')
    expect(said(pair(101))).toContain('no significant difference')
  })

  it('compares reused folds with fresh ones', () => {
    const folds = (carried: number, test: number): CommentaryContext => ({
      quick: false,
      crossval: { folds: 5, honest: { mean: 0.9, standardDeviation: 0.005 }, carried: { mean: carried, test } },
    })
    const models = [measured('lenet-seed', 1000, 100)]
    const text = said(models, folds(0.93, 0.9))
    expect(text).toContain('inflates this to 93.00 %, 3.0 points more, on the same images')
    expect(text).toContain('on the unseen test images that model has 90.00 %.')
    expect(said(models, folds(0.89, 0.9))).toContain('no more in this run')
    expect(said(models)).not.toContain('Reusing')
  })

  it('excludes made-up weights from every ranking, and says so', () => {
    const models = [measured('lenet-seed', 1000, 100), measured('vgg16', 1000, 10, { meaningless: true })]
    expect(compareModels(models, task).leaders).toEqual(['lenet-seed'])
    const text = said(models)
    expect(text).toContain('vgg16 had made-up weights')
    expect(text).not.toContain('in the notebook 88.39')
  })

  it('shows no figure without a value, whatever is missing', () => {
    const ids = ['lenet-seed', 'lenet-best', 'vgg16', 'xception', 'resnet152v2'] as const
    for (let chosen = 0; chosen < 2 ** ids.length; chosen++) {
      const models = ids.filter((_, i) => (chosen >> i) & 1).map((id, i) => measured(id, 100, 10 * i))
      const text = said(models, { ...alone, quick: chosen % 2 === 0 })
      expect(text).not.toMatch(/NaN|undefined|null|Infinity/)
      const { pairs } = compareModels(models, task)
      expect(pairs).toHaveLength((models.length * (models.length - 1)) / 2)
      for (const pair of pairs) expect(typeof isSignificant(pair)).toBe('boolean')
    }
  })
})

describe('the plan of a study', () => {
  it('takes parts to skip by name or by group, in the order of the study', () => {
    expect(partsNamed(task, 'transfer,eda')).toEqual(['eda', 'vgg16', 'xception', 'resnet152v2'])
    expect(partsNamed(task, ' lenet , lenet-best')).toEqual(['seed', 'best'])
    for (const text of ['', 'eda,', 'lenet5', 'constructor'])
      expect(() => partsNamed(task, text)).toThrow(expect.objectContaining({ code: 'argument' }))
  })

  it('runs everything when whole, and one network when quick', () => {
    expect(studyParts(task).filter((part) => leftOut(fullPlan(task), part) !== undefined)).toEqual([])
    expect(studyParts(task).filter((part) => leftOut(quickPlan(task), part) !== undefined)).toEqual([
      'xception',
      'resnet152v2',
    ])
    expect(leftOut({ ...fullPlan(task), skip: ['eda'] }, 'eda')).toContain('--skip')
  })

  it("has the task's pretrained networks", () => {
    const smaller: PublishedTask = { ...task, transfer: { xception: task.transfer.xception } }
    expect(studyParts(smaller)).toEqual(['eda', 'tune', 'crossval', 'seed', 'best', 'xception'])
    expect(quickPlan(smaller).transfer.networks).toEqual(['xception'])
    expect(partsNamed(smaller, 'transfer')).toEqual(['xception'])
    expect(() => partsNamed(smaller, 'vgg16')).toThrow(expect.objectContaining({ code: 'argument' }))
    expect(() => transferDefaults(smaller, 'vgg16')).toThrow(/no settings for vgg16. Use one of: xception/)
  })

  it('can be written as a command line', () => {
    const plan = { ...fullPlan(task), skip: ['eda', 'best'] as const, seed: 3 }
    expect(commandOf(plan, task)).toBe('npx weftgrad study --skip eda,lenet-best --seed 3')
    expect(commandOf(quickPlan(task), task)).toBe('npx weftgrad study --quick')
    expect(commandOf({ ...fullPlan(task), seeds: 3 }, task)).toBe('npx weftgrad study --seeds 3')
  })

  it('can be read back from a file, or is refused', () => {
    const plan = { ...quickPlan(task), skip: ['eda', 'best'] as const }
    const written = writtenPlan(plan, task)
    expect(written).toMatchObject({ skip: ['eda', 'lenet-best'], lenet: { seed: 6, best: 6 } })
    expect(planIn(JSON.parse(JSON.stringify(written)), 'x', task)).toEqual(plan)
    const { seeds: _, ...early } = written
    expect(planIn(JSON.parse(JSON.stringify(early)), 'x', task)).toEqual(plan)
    for (const value of [
      null,
      {},
      { ...written, seeds: '3' },
      { ...written, transfer: null },
      { ...written, skip: 'eda' },
    ])
      expect(() => planIn(value, 'x', task)).toThrow(expect.objectContaining({ code: 'format' }))
  })
})

describe('the clock of a study', () => {
  it('uses the estimate at first, and the measured times of parts later', () => {
    let now = 0
    const clock = new StudyClock({ eda: 10, tune: 100, crossval: 90 }, () => now)
    clock.begin()
    expect(clock.progress('eda', 0.5)).toMatchObject({ share: 5 / 200, etaSeconds: 195 })
    now = 10_000
    clock.end('eda')
    clock.begin()
    now = 110_000
    // Half of it took 100 s instead of 50.
    const { share, etaSeconds } = clock.progress('tune', 0.5)
    expect(share).toBeCloseTo(0.3, 10)
    expect(etaSeconds).toBeCloseTo((140 * 110) / 60, 6)
  })

  it('works without an estimate', () => {
    expect(new StudyClock({}).progress('vgg16', 0.5)).toMatchObject({ share: 0, etaSeconds: 0 })
  })
})
