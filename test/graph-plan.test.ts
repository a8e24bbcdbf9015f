/** Planning: the location of every value. Nothing live is overwritten, even in graphs of ten thousand operators. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { defineOp } from '../src/autograd/define-op.ts'
import type { TensorType } from '../src/graph/node.ts'
import type { Location, Plan } from '../src/graph/plan/plan.ts'
import type { OpDefinition } from '../src/index.ts'
import {
  add,
  evaluate,
  exp,
  fill,
  gradients,
  mul,
  neg,
  nn,
  reshape,
  softmaxCrossEntropy,
  sum,
  type Tensor,
  tensor,
} from '../src/index.ts'
import type { KernelPlan, Operand } from '../src/kernels/kernel.ts'
import { useDevice } from './support/device.ts'
import { bufferOf, conflicts, operandsOf, planned, seed } from './support/graph-plans.ts'
import { noiseTensor } from './support/noise.ts'

const device = useDevice()

/** Tracks which value's bytes each byte of the arenas holds while a plan is walked. */
class ArenaContents {
  readonly #owners = new Map<number, { readonly start: number; readonly end: number; readonly owner: string }[]>()

  write(location: Location, owner: string): void {
    if (location.kind !== 'arena') return
    const [start, end] = [location.offset, location.offset + location.bytes]
    const rest = (this.#owners.get(location.arena) ?? []).flatMap((block) => [
      { ...block, end: Math.min(block.end, start) },
      { ...block, start: Math.max(block.start, end) },
    ])
    const kept = rest.filter((block) => block.start < block.end)
    this.#owners.set(location.arena, [...kept, { start, end, owner }])
  }

  /** Everything found there, in order. */
  read(location: Location): string {
    if (location.kind !== 'arena') return location.kind
    const [start, end] = [location.offset, location.offset + location.bytes]
    const found = (this.#owners.get(location.arena) ?? []).filter((block) => block.start < end && block.end > start)
    const covered = found.reduce((sum, block) => sum + Math.min(block.end, end) - Math.max(block.start, start), 0)
    return found.map((block) => block.owner).join('+') + (covered < end - start ? '+nothing' : '')
  }
}

/** An operator that computes nothing; its labels say which value is which. */
function tracer(name: string, outputs: readonly TensorType[], scratch: readonly number[]): OpDefinition {
  return {
    name,
    shape: () => outputs,
    plan(inputs, results): KernelPlan {
      const step = (label: string, reads: readonly Operand[], writes: readonly Operand[]) => ({
        label,
        wgsl: '',
        bindings: [
          ...reads.map((operand) => ({ name: '', element: 'f32', access: 'read', operand }) as const),
          ...writes.map((operand) => ({ name: '', element: 'f32', access: 'read_write', operand }) as const),
        ],
        uniforms: new Uint32Array(),
        workgroups: [1, 1, 1] as const,
      })
      const all = (role: Operand['role'], count: number): Operand[] =>
        Array.from({ length: count }, (_, index) => ({ role, index }))
      const [ins, outs, scratches] = [
        all('input', inputs.length),
        all('output', results.length),
        all('scratch', scratch.length),
      ]
      return {
        variant: 'tracer',
        // Each scratch is filled by its own dispatch, from the operands and the earlier scratches.
        dispatches: [
          ...scratches.map((one, i) => step(`${name} scratch ${i}`, [...ins, ...scratches.slice(0, i)], [one])),
          step(name, [...ins, ...scratches], outs),
        ],
        scratchBytes: scratch,
        flops: 0,
      }
    },
  }
}

interface TracedOp {
  readonly inputs: readonly number[]
  readonly extents: readonly number[]
  readonly scratch: readonly number[]
  readonly reshaped: boolean
  readonly wanted: boolean
}

const tracedOps = fc.array(
  fc.record<TracedOp>({
    inputs: fc.array(fc.nat(), { minLength: 1, maxLength: 3 }),
    extents: fc.array(fc.integer({ min: 1, max: 3000 }), { minLength: 1, maxLength: 2 }),
    scratch: fc.array(fc.integer({ min: 4, max: 9000 }), { maxLength: 2 }),
    reshaped: fc.boolean(),
    wanted: fc.boolean(),
  }),
  { minLength: 1, maxLength: 40 },
)

/** Builds the operators into a graph and walks its plan; returns every read of a wrong value. */
function wrongReads(ops: readonly TracedOp[]): string[] {
  const tensors: { readonly tensor: Tensor; readonly owner: string }[] = [
    { tensor: tensor(new Float32Array(7)), owner: 'leaf' },
    { tensor: tensor(new Float32Array(5)), owner: 'leaf' },
  ]
  /** The owners of what each label reads, in order. */
  const expected = new Map<string, readonly string[]>()
  const wanted: { readonly tensor: Tensor; readonly owner: string }[] = []
  ops.forEach((op, i) => {
    const name = `n${i}`
    const inputs = op.inputs.flatMap((pick) => tensors[pick % tensors.length] ?? [])
    const types = op.extents.map((extent): TensorType => ({ shape: [extent], dtype: 'f32' }))
    const results = defineOp(tracer(name, types, op.scratch))(...inputs.map((input) => input.tensor))
    const owners = inputs.map((input) => input.owner)
    op.scratch.forEach((_, n) => {
      const before = op.scratch.slice(0, n).map((__, m) => `${name} scratch ${m}`)
      expected.set(`${name} scratch ${n}`, [...owners, ...before])
    })
    expected.set(name, [...owners, ...op.scratch.map((_, n) => `${name} scratch ${n}`)])
    results.forEach((result, index) => {
      const own = { tensor: op.reshaped ? reshape(result, [1, -1, 1]) : result, owner: `${name} output ${index}` }
      tensors.push(own)
      if (op.wanted) wanted.push(own)
    })
  })
  const last = tensors.at(-1)
  if (last !== undefined) wanted.push(last)

  const plan = planned(wanted.map((one) => one.tensor))
  const wrong = conflicts(plan)
  const contents = new ArenaContents()
  const check = (where: string, location: Location, owner: string | undefined): void => {
    const found = contents.read(location)
    if (found !== owner) wrong.push(`${where} finds ${found} where ${owner} should be`)
  }
  for (const dispatch of plan.dispatches) {
    const owners = expected.get(dispatch.label)
    operandsOf(dispatch, 'read').forEach((location, i) => {
      check(dispatch.label, location, owners?.[i])
    })
    const isScratch = dispatch.label.includes('scratch')
    operandsOf(dispatch, 'read_write').forEach((location, i) => {
      contents.write(location, isScratch ? dispatch.label : `${dispatch.label} output ${i}`)
    })
  }
  plan.results.forEach(({ location }, i) => {
    check(`result ${i}`, location, wanted[i]?.owner)
  })
  for (const dispatch of plan.dispatches)
    for (const location of dispatch.operands)
      if (location.kind === 'arena' && location.offset + location.bytes > (plan.arenaBytes[location.arena] ?? 0))
        wrong.push(`${dispatch.label} reaches beyond its arena`)
  return wrong
}

/** The most bytes that hold something still needed, over the dispatches of a plan. */
function mostAliveBytes({ dispatches, results }: Plan): number {
  interface Span {
    readonly location: Location
    readonly from: number
    to: number
  }
  const spans: Span[] = []
  const at = (location: Location): Span | undefined =>
    spans.findLast(
      (span) => bufferOf(span.location) === bufferOf(location) && offsetOf(span.location) === offsetOf(location),
    )
  const offsetOf = (location: Location): number => (location.kind === 'arena' ? location.offset : -1)
  const touch = (location: Location, position: number): void => {
    const span = at(location)
    if (span !== undefined) span.to = position
  }
  dispatches.forEach((dispatch, position) => {
    for (const location of operandsOf(dispatch, 'read')) touch(location, position)
    for (const location of operandsOf(dispatch, 'read_write'))
      if (location.kind === 'arena') spans.push({ location, from: position, to: position })
  })
  for (const { location } of results) touch(location, dispatches.length)
  const aliveAt = (position: number): number =>
    spans
      .filter(({ from, to }) => from <= position && position <= to)
      .reduce((sum, { location }) => sum + (location.kind === 'arena' ? location.bytes : 0), 0)
  return Math.max(...dispatches.map((_, position) => aliveAt(position)))
}

/** A training step of LeNet-5: loss and gradients. */
function lenetStep(batch: number): Tensor[] {
  const model = nn.lenet5()
  const x = noiseTensor([batch, 32, 32, 1], 'x')
  const labels = tensor(
    Array.from({ length: batch }, (_, i) => i % 10),
    [batch],
    'u32',
  )
  const loss = softmaxCrossEntropy(model.call(x), labels)
  const weights = model.trainableWeights.map((weight) => weight.tensor)
  return [loss, ...gradients(loss, weights)]
}

describe('a plan', () => {
  it('keeps every operand of a random graph intact until it is read, in buffers bound only one way', () => {
    fc.assert(
      fc.property(tracedOps, (ops) => {
        expect(wrongReads(ops)).toEqual([])
      }),
      { seed, numRuns: 300 },
    )
  })

  it('that reuses memory too early fails this test', () => {
    const contents = new ArenaContents()
    const at = (offset: number, bytes: number): Location => ({ kind: 'arena', arena: 0, offset, bytes })
    contents.write(at(0, 512), 'a')
    expect(contents.read(at(0, 512))).toBe('a')
    contents.write(at(256, 64), 'b')
    expect(contents.read(at(0, 512))).toBe('a+a+b')
    expect(contents.read(at(0, 256))).toBe('a')
    expect(contents.read(at(256, 256))).toBe('a+b')
    expect(contents.read(at(400, 300))).toBe('a+nothing')
  })

  it('of a training step binds no buffer both ways, and reads only values that were written completely', () => {
    for (const fuse of [true, false]) {
      const plan = planned(lenetStep(7), { fuse })
      expect(plan.dispatches.length).toBeGreaterThan(10)
      expect(conflicts(plan)).toEqual([])
      const contents = new ArenaContents()
      const torn = plan.dispatches.flatMap((dispatch, i) => {
        const found = operandsOf(dispatch, 'read').map((location) => contents.read(location))
        for (const location of operandsOf(dispatch, 'read_write')) contents.write(location, `${i}`)
        return found.filter((owner) => owner.includes('+')).map((owner) => `${dispatch.label} reads ${owner}`)
      })
      expect(torn).toEqual([])
    }
  })

  it('of a chain of 50 operators needs the memory of two', () => {
    const bytes = 4 * 100_000
    let x = tensor(new Float32Array(bytes / 4))
    for (let i = 0; i < 50; i++) x = i % 2 === 0 ? exp(x) : neg(x)
    const plan = planned([x], { fuse: false })
    expect(plan.dispatches).toHaveLength(50)
    expect(plan.arenaBytes).toHaveLength(2)
    expect(Math.max(...plan.arenaBytes)).toBeLessThan(bytes + 256)
  })

  it('of a training step uses little more memory than is live at one time', () => {
    for (const fuse of [true, false]) {
      const plan = planned(lenetStep(32), { fuse })
      const total = plan.arenaBytes.reduce((sum, bytes) => sum + bytes, 0)
      expect(total).toBeGreaterThanOrEqual(mostAliveBytes(plan))
      expect(total).toBeLessThan(1.6 * mostAliveBytes(plan))
    }
  })

  /** The result of an operator that computes nothing. */
  const traced = (name: string, inputs: readonly Tensor[], ...extents: readonly number[]): Tensor => {
    const types = extents.map((extent): TensorType => ({ shape: [extent], dtype: 'f32' }))
    const [result] = defineOp(tracer(name, types, []))(...inputs)
    if (result === undefined) throw new Error('a tracer has an output')
    return result
  }

  it('merges the gaps of neighbouring values for one larger value, in any order of their last reads', () => {
    const x = tensor(new Float32Array(4))
    const inOrders = [
      [0, 1, 2],
      [2, 1, 0],
      [0, 2, 1],
    ]
    for (const order of inOrders) {
      const parts = ['a', 'b', 'c'].map((name) => traced(name, [x], 1000))
      const inOrder = order.flatMap((i) => parts[i] ?? [])
      const joined = traced('join', inOrder, 1)
      // Results computed from one arena go to another, so every second value is next to the gap.
      const plan = planned([traced('again', [traced('odd', [traced('even', [joined], 1)], 1)], 3000)])
      const total = plan.arenaBytes.reduce((sum, bytes) => sum + bytes, 0)
      expect(total).toBeLessThan(4 * 3000 + 4 * 256)
    }
  })

  it('keeps no memory for results that nobody reads', () => {
    let x = tensor(new Float32Array(4))
    for (let i = 0; i < 20; i++) x = traced(`n${i}`, [x], 1000, 1000)
    const total = planned([x]).arenaBytes.reduce((sum, bytes) => sum + bytes, 0)
    expect(total).toBeLessThan(4 * 4096 + 1)
  })

  it('needs no kernel and no memory for a wanted leaf, reshaped or not', async () => {
    const x = tensor([1, 2, 3, 4])
    const plan = planned([x, reshape(x, [2, 2])])
    expect(plan.dispatches).toEqual([])
    expect(plan.arenaBytes).toEqual([])
    const [plain, reshaped] = await evaluate([x, reshape(x, [2, 2])], { device: device() })
    expect([...(plain ?? [])]).toEqual([1, 2, 3, 4])
    expect([...(reshaped ?? [])]).toEqual([1, 2, 3, 4])
  })
})

describe('a chain of ten thousand operators', () => {
  it('is planned, differentiated and run without exhausting the stack', async () => {
    const x = tensor([1, 2, 3])
    let y: Tensor = x
    for (let i = 0; i < 10_000; i++) y = i % 2 === 0 ? add(y, 1) : mul(y, 1)
    expect([...(await y.data({ device: device() }))]).toEqual([5001, 5002, 5003])
    const [slope] = gradients(sum(y), [x])
    if (slope === undefined) throw new Error('one tensor gives one gradient')
    expect([...(await slope.data({ device: device() }))]).toEqual([1, 1, 1])
  })

  it('of constants is folded without exhausting the stack', async () => {
    let y = fill([2], 0)
    for (let i = 0; i < 10_000; i++) y = add(y, 1)
    expect([...(await y.data({ device: device() }))]).toEqual([10_000, 10_000])
  })
})
