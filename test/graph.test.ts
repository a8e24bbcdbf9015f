/**
 * The graph room: planning (where every value lives, and that nothing alive is overwritten), rewriting (fewer kernels,
 * the same numbers), the cache of plans, and what is refused before anything happens.
 */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { defineOp } from '../src/autograd/define-op.ts'
import type { Device } from '../src/gpu/device.ts'
import type { TensorType } from '../src/graph/node.ts'
import { PlanCache } from '../src/graph/plan/cache.ts'
import type { Location, Plan, PlannedDispatch, PlanOptions, Wanted } from '../src/graph/plan/plan.ts'
import { bytesOf, planGraph } from '../src/graph/plan/plan.ts'
import { Program, planFor } from '../src/graph/run/program.ts'
import type { KeptTensor, OpDefinition, PoolOptions } from '../src/index.ts'
import {
  add,
  argmax,
  broadcastTo,
  clip,
  constant,
  conv2d,
  div,
  evaluate,
  exp,
  fill,
  gradients,
  keep,
  matmul,
  maximum,
  maxPool,
  mean,
  mul,
  neg,
  nn,
  pad,
  planOf,
  relu,
  reshape,
  sigmoid,
  softmaxCrossEntropy,
  square,
  sub,
  sum,
  Tensor,
  tanh,
  tensor,
  transpose,
  where,
} from '../src/index.ts'
import type { KernelPlan, Operand, Target } from '../src/kernels/kernel.ts'
import { DeviceStorage, leaf } from '../src/operators/tensor.ts'
import { Random } from '../src/random.ts'
import { useDevice } from './support/device.ts'

const device = useDevice()
const seed = 20_250_101

/** Plans can be made without a device. */
const target: Target = { class: 'cpu', subgroupSize: 8, maxWorkgroupSize: 256, maxWorkgroupStorageBytes: 16_384 }

function planned(tensors: readonly Tensor[], options: Partial<PlanOptions> = {}): Plan {
  return planGraph(
    tensors.map(({ value }) => ({ value })),
    { target, ...options },
  )
}

function noise(shape: readonly number[], stream: string | number): Float32Array {
  const random = new Random(seed, stream)
  const count = shape.reduce((product, extent) => product * extent, 1)
  return Float32Array.from({ length: count }, () => random.uniform() * 2 - 1)
}

/** What WebGPU sees as one buffer. */
function bufferOf(location: Location): unknown {
  if (location.kind === 'buffer') return location.slice.buffer
  return location.kind === 'arena' ? `arena ${location.arena}` : `leaf ${location.leaf}`
}

function operandsOf(dispatch: PlannedDispatch, access: 'read' | 'read_write'): Location[] {
  return dispatch.operands.filter((_, i) => dispatch.access[i] === access)
}

/** Dispatches that bind a buffer both ways, which WebGPU refuses even for disjoint ranges. */
function conflicts(plan: Plan): string[] {
  return plan.dispatches.flatMap((dispatch) => {
    const written = new Set(operandsOf(dispatch, 'read_write').map(bufferOf))
    const both = operandsOf(dispatch, 'read')
      .map(bufferOf)
      .filter((buffer) => written.has(buffer))
    return both.map((buffer) => `${dispatch.label}: ${String(buffer)}`)
  })
}

/** Which value's bytes each byte of the arenas holds while a plan is walked. */
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

/** An operator that computes nothing, but says by its labels which value is which. */
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
        // Each scratch is filled by a dispatch of its own, from the operands and the scratches before it.
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

/** Builds the operators into a graph and walks its plan; gives every place where a value is not what it should be. */
function wrongReads(ops: readonly TracedOp[]): string[] {
  const tensors: { readonly tensor: Tensor; readonly owner: string }[] = [
    { tensor: tensor(new Float32Array(7)), owner: 'leaf' },
    { tensor: tensor(new Float32Array(5)), owner: 'leaf' },
  ]
  /** By label: the owners of what is read, in order. */
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

/** The most bytes that hold something still to be read, over the dispatches of a plan. */
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
  const x = tensor(noise([batch, 32, 32, 1], 'x'), [batch, 32, 32, 1])
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
  it('keeps every operand of a random graph intact until it is read, in buffers bound one way', () => {
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
      // What is computed from one arena goes to another: every second value lies beside the hole.
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

/** Runs a graph whose results have destinations, `times` over. */
async function runWanted(wanted: readonly Wanted[], times = 1): Promise<{ plan: Plan; results: number[][] }> {
  const plan = planFor(device(), wanted)
  using program = await Program.create(device(), plan, 'destinations')
  await program.run(times)
  const bytes = await device().readAll(program.results)
  return { plan, results: bytes.map((one) => [...new Float32Array(one)]) }
}

async function kept(...numbers: number[]): Promise<KeptTensor> {
  return tensor(numbers).keep({ device: device() })
}

describe('results with destinations', () => {
  it('are written to their destination by the kernel that computes them', async () => {
    using a = await kept(1, 2)
    using b = await kept(0, 0)
    const { plan, results } = await runWanted([{ value: mul(a, 10).value, destination: b.slice }])
    expect(plan.dispatches).toHaveLength(1)
    expect(results).toEqual([[10, 20]])
    expect([...(await b.data())]).toEqual([10, 20])
  })

  it('that replace values still to be read are written at the end (moving statistics)', async () => {
    using average = await kept(8, 16)
    using x = await kept(4, 4)
    const next = add(mul(average, 0.5), mul(x, 0.5))
    // Traced after the update, but it reads the average as it was before the step.
    const normal = sub(x, average)
    const wanted = [
      { value: next.value, destination: average.slice },
      { value: normal.value },
      { value: mul(next, 2).value },
    ]
    const once = await runWanted(wanted)
    expect(once.results).toEqual([
      [6, 10],
      [-4, -12],
      [12, 20],
    ])
    expect(conflicts(once.plan)).toEqual([])
    const again = await runWanted(wanted, 2)
    expect(again.results[0]).toEqual([4.5, 5.5])
    expect(again.results[1]).toEqual([-1, -3])
    expect([...(await average.data())]).toEqual([4.5, 5.5])
  })

  it('can be one value wanted in two places, and once without a place', async () => {
    using x = await kept(1, 2)
    using a = await kept(0, 0)
    using b = await kept(0, 0)
    const y = mul(x, 3).value
    const { results } = await runWanted([
      { value: y },
      { value: y, destination: a.slice },
      { value: y, destination: b.slice },
    ])
    expect(results).toEqual([
      [3, 6],
      [3, 6],
      [3, 6],
    ])
    expect([...(await a.data()), ...(await b.data())]).toEqual([3, 6, 3, 6])
  })

  it('can be leaves, even two that are swapped', async () => {
    using a = await kept(1, 2)
    using b = await kept(3, 4)
    const { plan } = await runWanted([
      { value: a.value, destination: b.slice },
      { value: b.value, destination: a.slice },
    ])
    expect(conflicts(plan)).toEqual([])
    expect([...(await a.data())]).toEqual([3, 4])
    expect([...(await b.data())]).toEqual([1, 2])
  })

  it('can be leaves that move within their own buffer', async () => {
    const buffer = device().allocate(512, 'two halves')
    device().write(buffer.slice(), new Float32Array([1, 2]))
    using whole = await kept(0)
    const storage = { on: () => buffer.slice(0, 8), device: device(), transient: false }
    const first = leaf(storage, { shape: [2], dtype: 'f32' })
    await runWanted([
      { value: first, destination: buffer.slice(256, 8) },
      { value: whole.value, destination: whole.slice },
    ])
    const [low, high] = await device().readAll([buffer.slice(0, 8), buffer.slice(256, 8)])
    expect([...new Float32Array(low ?? new ArrayBuffer(0))]).toEqual([1, 2])
    expect([...new Float32Array(high ?? new ArrayBuffer(0))]).toEqual([1, 2])
    buffer.dispose()
  })

  it('can share a buffer, one computed from the other (gradients)', async () => {
    using x = await kept(1, 2)
    using buffer = device().allocate(1024, 'gradients')
    const a = exp(x)
    const b = sum(mul(a, a))
    const c = matmul(reshape(a, [1, 2]), reshape(a, [2, 1]))
    const { plan, results } = await runWanted([
      { value: a.value, destination: buffer.slice(0, 8) },
      { value: b.value, destination: buffer.slice(256, 4) },
      { value: c.value, destination: buffer.slice(512, 4) },
    ])
    expect(conflicts(plan)).toEqual([])
    const square = Math.exp(2) + Math.exp(4)
    expect(results[0]?.map((y) => Math.log(y))).toEqual([expect.closeTo(1, 5), expect.closeTo(2, 5)])
    expect(results[1]).toEqual([expect.closeTo(square, 3)])
    expect(results[2]).toEqual([expect.closeTo(square, 3)])
  })

  it('can be reshaped, and can be whole numbers', async () => {
    using numbers = await argmax(
      tensor([
        [1, 5, 2],
        [7, 0, 3],
      ]),
    ).keep({ device: device() })
    expect([...(await numbers.data())]).toEqual([1, 0])
    using reshaped = await reshape(numbers, [2, 1]).keep({ device: device() })
    expect(reshaped.shape).toEqual([2, 1])
    expect([...(await reshaped.data())]).toEqual([1, 0])
  })
})

/** A random elementwise graph in few words: each step picks an operator and earlier tensors. */
interface Step {
  readonly operator: number
  readonly picks: readonly number[]
  readonly wanted: boolean
}

const steps = fc.array(
  fc.record<Step>({
    operator: fc.nat(),
    picks: fc.array(fc.nat(), { minLength: 3, maxLength: 3 }),
    wanted: fc.integer({ min: 0, max: 5 }).map((n) => n === 0),
  }),
  { minLength: 3, maxLength: 30 },
)

const grid = [4, 6] as const
/** All keep to shapes that broadcast to the grid, and to numbers that do not grow. */
const operators: readonly ((a: Tensor, b: Tensor, c: Tensor) => Tensor)[] = [
  (a, b) => add(a, b),
  (a, b) => sub(a, b),
  (a, b) => mul(tanh(a), sigmoid(b)),
  (a, b, c) => where(relu(a), b, c),
  (a, b) => maximum(a, neg(b)),
  (a) => square(tanh(a)),
  (a) => mul(a, 0.5),
  (a) => add(constant(1), a),
  (a) => broadcastTo(a, grid),
  (a) => mean(broadcastTo(a, grid), { axes: 1, keepDims: true }),
  (a) => mean(broadcastTo(a, grid), { axes: 0 }),
  (a) => transpose(transpose(broadcastTo(tanh(a), grid))),
  (a, b) => mul(matmul(tanh(broadcastTo(a, grid)), tanh(broadcastTo(b, grid)), { transposeB: true }), 0.1),
  (a) => div(a, add(fill([6], 1.5), 0.5)),
]

function randomGraph(script: readonly Step[]): Tensor[] {
  const tensors = [
    tensor(noise(grid, 'a'), grid),
    tensor(noise([6], 'b'), [6]),
    tensor(noise([4, 1], 'c'), [4, 1]),
    fill([1, 6], 0.25),
    constant(-1.5),
  ]
  const wanted: Tensor[] = []
  for (const { operator, picks, wanted: isWanted } of script) {
    const [a, b, c] = picks.map((pick) => tensors[pick % tensors.length])
    const apply = operators[operator % operators.length]
    if (a === undefined || b === undefined || c === undefined || apply === undefined)
      throw new Error('picks are indices')
    const result = apply(a, b, c)
    // Products of 4x6 with 6x4 are 4x4: bring them back to the grid's columns.
    const fits = result.shape.every((extent, axis) => {
      const own = grid[axis + 2 - result.shape.length]
      return extent === 1 || extent === own
    })
    const next = fits ? result : mean(result, { axes: -1, keepDims: true })
    tensors.push(next)
    if (isWanted) wanted.push(next)
  }
  return [...wanted, ...tensors.slice(-1)]
}

async function expectEqualNumbers(tensors: readonly Tensor[]): Promise<void> {
  const fused = await evaluate(tensors, { device: device() })
  const plain = await evaluate(tensors, { device: device(), fuse: false })
  fused.forEach((numbers, i) => {
    const expected = plain[i] ?? []
    expect(numbers.length).toBe(expected.length)
    numbers.forEach((x, j) => {
      const y = expected[j] ?? Number.NaN
      // A kernel's compiler may contract a product and a sum: then the last bits differ.
      if (!Object.is(x, y))
        expect(Math.abs(x - y), `result ${i}, number ${j}`).toBeLessThanOrEqual(1e-6 + 1e-5 * Math.abs(y))
    })
  })
}

describe('rewriting', () => {
  it('does not change the numbers of any graph, and never adds dispatches', async () => {
    await fc.assert(
      fc.asyncProperty(steps, async (script) => {
        const tensors = randomGraph(script)
        const [fused, plain] = [planned(tensors), planned(tensors, { fuse: false })]
        expect(fused.dispatches.length).toBeLessThanOrEqual(plain.dispatches.length)
        expect(conflicts(fused)).toEqual([])
        await expectEqualNumbers(tensors)
      }),
      { seed, numRuns: 20 },
    )
  })

  it('does not change gradients of convolutions with activations and pools, whatever else reads the intermediates', async () => {
    const kernelOf = (size: number, channels: number, filters: number): Tensor =>
      mul(tensor(noise([size, size, channels, filters], size), [size, size, channels, filters]), 0.5)
    const x = tensor(noise([2, 9, 10, 3], 'image'), [2, 9, 10, 3])
    const bias = tensor(noise([4], 'bias'))
    const half = { poolSize: 2 } as const
    type Variant = readonly [variation: string, activation: 'linear' | 'relu' | 'tanh', size: number, PoolOptions]
    const variants: readonly Variant[] = [
      ...['plain', 'no bias', 'image only', 'kernel only', 'looked at', 'pooled twice'].map(
        (variation): Variant => [variation, 'relu', 3, half],
      ),
      ['plain', 'linear', 2, half],
      ['pooled twice', 'linear', 2, half],
      ['plain', 'tanh', 3, half],
      ['plain', 'relu', 2, half],
      ['plain', 'relu', 3, { poolSize: 2, padding: 'same' }],
      ['plain', 'relu', 3, { poolSize: 3, strides: 2 }],
    ]
    for (const [variation, activation, size, pool] of variants) {
      const kernel = kernelOf(size, 3, 4)
      const inner = variation === 'image only' ? mul(x, 1.5) : x
      const y = conv2d(inner, kernel, variation === 'no bias' ? undefined : bias, { activation })
      const z = maxPool(y, pool)
      const more = variation === 'pooled twice' ? sum(maxPool(y, { poolSize: 2, strides: 1 })) : constant(0)
      const loss = add(sum(mul(z, z)), more)
      const all = variation === 'no bias' ? [x, kernel] : [x, kernel, bias]
      const by = { 'image only': [inner], 'kernel only': [kernel] }[variation] ?? all
      const looked = variation === 'looked at' ? [y] : []
      await expectEqualNumbers([loss, ...gradients(loss, by), ...looked])
    }
  })

  it('fuses a chain into one kernel, including its broadcasts', async () => {
    const x = tensor(noise([4, 6], 'x'), [4, 6])
    const row = tensor(noise([6], 'row'))
    const y = sigmoid(mul(add(square(x), broadcastTo(row, [4, 6])), 0.5))
    expect(planned([y]).dispatches).toHaveLength(1)
    expect(planned([y], { fuse: false }).dispatches.length).toBeGreaterThan(3)
    await expectEqualNumbers([y])
  })

  it('does not fuse values with several readers, or values that are wanted', () => {
    const x = tensor(noise([8], 'x'))
    const e = exp(x)
    expect(planned([add(e, 1)]).dispatches).toHaveLength(1)
    expect(planned([add(e, 1), e]).dispatches).toHaveLength(2)
    expect(planned([add(e, 1), mul(e, 2)]).dispatches).toHaveLength(3)
  })

  it('fuses an activation into the layer before it, unless the layer is wanted too', async () => {
    const x = tensor(noise([3, 5], 'x'), [3, 5])
    const kernel = tensor(noise([5, 4], 'kernel'), [5, 4])
    const y = matmul(x, kernel)
    const image = tensor(noise([1, 5, 5, 2], 'image'), [1, 5, 5, 2])
    const c = conv2d(image, tensor(noise([3, 3, 2, 3], 'k'), [3, 3, 2, 3]))
    expect(planned([tanh(c)]).dispatches).toHaveLength(1)
    expect(planned([tanh(c), c]).dispatches).toHaveLength(2)
    await expectEqualNumbers([tanh(c)])
    await expectEqualNumbers([relu(c), sigmoid(c), c])
    await expectEqualNumbers([relu(y), y])
  })

  it('stops before a kernel would bind more tensors than WebGPU allows', async () => {
    const tensors = Array.from({ length: 40 }, (_, i) => tensor(noise([8], i)))
    const total = tensors.reduce((a, b) => add(a, b))
    const plan = planned([total])
    expect(Math.max(...plan.dispatches.map((dispatch) => dispatch.operands.length))).toBeLessThanOrEqual(8)
    expect(plan.dispatches.length).toBeLessThan(12)
    await expectEqualNumbers([total])
  })

  it('folds constants while planning', async () => {
    const y = mul(sub(add(fill([3], 2), 3), neg(constant(1))), 4)
    const plan = planned([y])
    expect(plan.dispatches).toHaveLength(1)
    expect(plan.dispatches[0]?.operands).toHaveLength(1)
    expect([...(await y.data({ device: device() }))]).toEqual([24, 24, 24])
    const x = tensor([1, 2, 3])
    expect(planned([add(x, div(fill([3], 1), 4))]).dispatches[0]?.operands).toHaveLength(2)
  })

  it('folds them as a kernel would: in float32, with infinities, NaN and negative zero', async () => {
    const tiny = mul(constant(1e-30), 1e-30)
    const cases = [
      add(constant(0.1), 0.2),
      add(constant(16_777_216), 1),
      mul(constant(1e30), 1e30),
      tiny,
      div(constant(1), 3),
      neg(constant(0)),
      sub(mul(constant(1e30), 1e30), mul(constant(1e30), 1e30)),
    ]
    // Read by a kernel, so that the numbers arrive as literals.
    const x = tensor([1])
    const folded = await evaluate(
      cases.map((one) => mul(x, one)),
      { device: device() },
    )
    const numbers = folded.map((one) => one[0])
    const f = Math.fround
    expect(numbers).toEqual([f(f(0.1) + f(0.2)), 16_777_216, Infinity, 0, f(1 / 3), -0, Number.NaN])
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

describe('the cache of plans', () => {
  const isShared = (a: Plan, b: Plan): boolean => a.dispatches === b.dispatches
  const plan = (...tensors: Tensor[]): Plan => planOf(tensors, { device: device() })

  it('shares a plan between graphs of equal structure, each with its own numbers', async () => {
    const graph = (numbers: number[]): Tensor => {
      const x = tensor(numbers)
      return add(mul(x, x), sum(x))
    }
    expect(isShared(plan(graph([1, 2])), plan(graph([3, 4])))).toBe(true)
    expect([...(await graph([1, 2]).data({ device: device() }))]).toEqual([4, 7])
    expect([...(await graph([3, 4]).data({ device: device() }))]).toEqual([16, 23])
  })

  it('finds the leaves of a shared plan in any order of creation', async () => {
    const quotient = (numerator: number[], denominator: number[], isFirst: boolean): Tensor => {
      const first = tensor(isFirst ? numerator : denominator)
      const second = tensor(isFirst ? denominator : numerator)
      return isFirst ? div(first, second) : div(second, first)
    }
    for (const isFirst of [true, false, true, false])
      expect([...(await quotient([6, 8], [2, 4], isFirst).data({ device: device() }))]).toEqual([3, 2])
  })

  it.each<[what: string, a: () => Tensor[], b: () => Tensor[]]>([
    ['other constants', () => [add(tensor([1]), 2)], () => [add(tensor([1]), 3)]],
    ['zeros of other signs', () => [mul(tensor([1]), 0)], () => [mul(tensor([1]), -0)]],
    ['other limits', () => [clip(tensor([1]), -Infinity, 0)], () => [clip(tensor([1]), -1, 0)]],
    ['infinities of other signs', () => [add(tensor([1]), Infinity)], () => [add(tensor([1]), -Infinity)]],
    ['NaN', () => [add(tensor([1]), Infinity)], () => [add(tensor([1]), Number.NaN)]],
    ['other padding', () => [pad(tensor([1]), [[1, 0]])], () => [pad(tensor([1]), [[0, 1]])]],
    ['other shapes', () => [exp(tensor([1]))], () => [exp(tensor([1, 2]))]],
    ['other dtypes', () => [tensor([1])], () => [tensor([1], [1], 'u32')]],
    ['other wiring', () => [sub(tensor([1]), tensor([2]))], () => [swap(tensor([1]), tensor([2]), sub)]],
    ['a leaf used twice', () => [twice(tensor([1]), sub)], () => [sub(tensor([1]), tensor([2]))]],
    ['other results', () => both(tensor([1])), () => both(tensor([1])).reverse()],
    ['other users’ operators', () => defineOp(doubling())(tensor([1])), () => defineOp(doubling())(tensor([1]))],
  ])('tells apart %s', (_, a, b) => {
    expect(isShared(plan(...a()), plan(...b()))).toBe(false)
  })

  it('distinguishes one buffer read as two tensors from two buffers', async () => {
    using a = await kept(1, 2)
    using b = await kept(3, 4)
    const difference = (first: DeviceStorage, second: DeviceStorage): Tensor => {
      const [x, y] = [new Tensor(leaf(first, a.value.type)), new Tensor(leaf(second, a.value.type))]
      return sub(mul(x, 10), y)
    }
    const [one, other] = [new DeviceStorage(a.slice), new DeviceStorage(b.slice)]
    expect([...(await difference(one, one).data())]).toEqual([9, 18])
    expect([...(await difference(one, other).data())]).toEqual([7, 16])
    expect([...(await difference(one, one).data())]).toEqual([9, 18])
  })

  it('distinguishes plans by their variants, and by fusion', () => {
    const y = exp(neg(tensor([1, 2])))
    const plain = planOf([y], { device: device() })
    expect(isShared(plain, planOf([y], { device: device(), fuse: true }))).toBe(true)
    expect(isShared(plain, planOf([y], { device: device(), fuse: false }))).toBe(false)
    expect(isShared(plain, planOf([y], { device: device(), variants: { elementwise: 'plain' } }))).toBe(false)
  })

  it('evicts the least recently used plan, and holds no numbers', () => {
    const cache = new PlanCache(2)
    const planning = (y: Tensor): Plan => cache.plan([y.value], { target })
    const a = planning(exp(tensor([1])))
    const b = planning(neg(tensor([1])))
    expect(isShared(planning(exp(tensor([1]))), a)).toBe(true)
    planning(square(tensor([1])))
    expect(isShared(planning(exp(tensor([1]))), a)).toBe(true)
    expect(isShared(planning(neg(tensor([1]))), b)).toBe(false)
  })
})

const swap = (a: Tensor, b: Tensor, f: (a: Tensor, b: Tensor) => Tensor): Tensor => f(b, a)
const twice = (a: Tensor, f: (a: Tensor, b: Tensor) => Tensor): Tensor => f(a, a)
const both = (x: Tensor): Tensor[] => [exp(x), neg(x)]

const doublingText = `@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x < arrayLength(&y)) {
    y[id.x] = 2.0 * x[id.x];
  }
}
`

function doubling(wgsl = doublingText): OpDefinition {
  return {
    name: 'doubling',
    shape: (inputs) => inputs,
    plan: (_, outputs) => ({
      variant: 'plain',
      dispatches: [
        {
          label: 'doubling',
          wgsl,
          bindings: [
            { name: 'x', element: 'f32', access: 'read', operand: { role: 'input', index: 0 } },
            { name: 'y', element: 'f32', access: 'read_write', operand: { role: 'output', index: 0 } },
          ],
          uniforms: new Uint32Array(),
          workgroups: [Math.ceil(bytesOf(outputs[0] ?? { shape: [], dtype: 'f32' }) / 256), 1, 1],
        },
      ],
      scratchBytes: [],
      flops: 0,
    }),
  }
}

/** Buffers made while `act` runs, settled either way. */
async function buffersMade(on: Device, act: () => Promise<unknown>): Promise<number> {
  const { gpu } = on
  const create = gpu.createBuffer
  let made = 0
  gpu.createBuffer = (descriptor) => {
    made++
    return create.call(gpu, descriptor)
  }
  try {
    await act()
  } finally {
    gpu.createBuffer = create
  }
  return made
}

describe('a tensor that is too large for the adapter', () => {
  it('is refused, with the limit, before anything is allocated', async () => {
    const { maxBufferSize, maxStorageBufferBindingSize } = device().limits
    const before = device().memory()
    const beyond = [maxStorageBufferBindingSize, maxBufferSize].map((bytes) => Math.floor(bytes / 4) + 4)
    for (const count of beyond) {
      // Two factors, since one extent must fit 32 bits.
      const y = exp(
        broadcastTo(tensor(noise([Math.ceil(count / 4096), 1], 'x'), [Math.ceil(count / 4096), 1]), [
          Math.ceil(count / 4096),
          4096,
        ]),
      )
      const made = await buffersMade(device(), async () => {
        await expect(y.data({ device: device() })).rejects.toMatchObject({
          code: 'limit',
          details: { bytes: expect.any(Number) },
        })
        await expect(sum(matmul(y, fill([4096, 1], 1))).item({ device: device() })).rejects.toMatchObject({
          code: 'limit',
        })
      })
      expect(made).toBe(0)
    }
    expect(device().memory()).toEqual(before)
    expect(await add(1, 2).item({ device: device() })).toBe(3)
  })

  it('is refused by the plan only if it exceeds a binding or a buffer', () => {
    const x = tensor(new Float32Array(1000))
    const y = exp(x)
    for (const limits of [{ maxBufferBytes: 3999 }, { maxBindingBytes: 3999 }])
      expect(() => planned([y], limits)).toThrow(expect.objectContaining({ code: 'limit' }))
    expect(() => planned([sum(x)], { maxBindingBytes: 3999 })).toThrow(expect.objectContaining({ code: 'limit' }))
    expect(planned([y], { maxBufferBytes: 4096, maxBindingBytes: 4000 }).dispatches).toHaveLength(1)
  })

  it('does not stop smaller ones from sharing memory: they go into another arena', () => {
    const parts = Array.from({ length: 6 }, (_, i) => exp(tensor(noise([100], i))))
    const plan = planned(parts, { maxBufferBytes: 1024 })
    expect(plan.arenaBytes.every((bytes) => bytes <= 1024)).toBe(true)
    expect(plan.arenaBytes.length).toBeGreaterThanOrEqual(3)
    expect(conflicts(plan)).toEqual([])
  })
})

describe('live bytes', () => {
  it('return to their old value after evaluating, keeping and disposing', async () => {
    const before = device().memory()
    const x = tensor(noise([100, 100], 'x'), [100, 100])
    await evaluate([matmul(x, x), sum(x), x], { device: device() })
    expect(device().memory().liveBytes).toBe(before.liveBytes)
    const y = await matmul(x, x).keep({ device: device() })
    expect(device().memory().liveBytes).toBe(before.liveBytes + 40_192)
    await sum(y).item()
    expect(device().memory().liveBytes).toBe(before.liveBytes + 40_192)
    y.dispose()
    expect(device().memory()).toMatchObject({ liveBytes: before.liveBytes, liveBuffers: before.liveBuffers })
  })

  it('count each kept tensor by itself, also one that is kept twice', async () => {
    const before = device().memory()
    const x = tensor([1, 2, 3])
    const y = mul(x, x)
    const [first, again, own, last] = await keep([y, y, x, add(y, 1)], { device: device() })
    expect(device().memory().liveBuffers).toBe(before.liveBuffers + 4)
    first?.dispose()
    expect(await again?.data()).toEqual(Float32Array.of(1, 4, 9))
    expect(await own?.data()).toEqual(Float32Array.of(1, 2, 3))
    expect(await last?.data()).toEqual(Float32Array.of(2, 5, 10))
    for (const one of [again, own, last]) one?.dispose()
    expect(device().memory().liveBytes).toBe(before.liveBytes)
    await expect(keep([y, defineOp(doubling('nonsense'))(x)[0] ?? x])).rejects.toMatchObject({ code: 'device' })
    expect(device().memory().liveBytes).toBe(before.liveBytes)
  })

  it('return to their old value after a failed run', async () => {
    const before = device().memory()
    const x = tensor(noise([64], 'x'))
    const broken = (): Tensor => defineOp(doubling('nonsense'))(exp(x))[0] ?? x
    await expect(sum(broken()).item({ device: device() })).rejects.toMatchObject({ code: 'device' })
    await expect(broken().keep({ device: device() })).rejects.toMatchObject({ code: 'device' })
    const gone = await exp(x).keep({ device: device() })
    gone.dispose()
    await expect(add(gone, tensor(noise([64], 'y'))).data()).rejects.toMatchObject({ code: 'disposed' })
    await expect(add(gone, x).keep()).rejects.toMatchObject({ code: 'disposed' })
    expect(device().memory()).toMatchObject({ liveBytes: before.liveBytes, liveBuffers: before.liveBuffers })
    const [fine] = defineOp(doubling())(x)
    expect((await fine?.data({ device: device() }))?.length).toBe(64)
  })

  it('do not grow while a program is replayed', async () => {
    using state = await kept(1, 1)
    const plan = planFor(device(), [{ value: mul(state, 2).value, destination: state.slice }])
    using program = await Program.create(device(), plan, 'doubling')
    const before = device().memory()
    const made = await buffersMade(device(), async () => {
      for (let i = 0; i < 10; i++) await program.run(2)
      await device().idle()
    })
    expect(made).toBe(0)
    expect(device().memory()).toEqual(before)
    expect([...(await state.data())]).toEqual([2 ** 20, 2 ** 20])
  })
})
