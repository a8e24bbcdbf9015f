/** Binds a kernel's plan to given buffers, for programs, tuning, benchmarks and the kernels' tests. */

import type { BoundCommands, UnboundCommand } from '../../gpu/bind.ts'
import { bindCommands } from '../../gpu/bind.ts'
import type { BufferSlice, Device, DeviceBuffer } from '../../gpu/device.ts'
import type { KernelPlan, Operand } from '../../kernels/kernel.ts'
import { flopsOf } from '../../kernels/kernel.ts'

/** A kernel's plan and the memory it works on. */
export interface PlacedKernel {
  readonly plan: KernelPlan
  readonly inputs: readonly BufferSlice[]
  readonly outputs: readonly BufferSlice[]
}

/** Binds a single kernel. `dispose` frees its uniforms and scratch memory; inputs and outputs belong to the caller. */
export async function bindKernel(device: Device, kernel: PlacedKernel, label: string): Promise<BoundCommands> {
  const scratch: DeviceBuffer[] = []
  const release = (): void => {
    for (const buffer of scratch) buffer.dispose()
  }
  try {
    for (const bytes of kernel.plan.scratchBytes) scratch.push(device.allocate(bytes, `${label} scratch`))
    const bound = await bindCommands(device, unboundCommands(kernel, scratch), label)
    return {
      commands: bound.commands,
      dispose: () => {
        bound.dispose()
        release()
      },
    }
  } catch (error) {
    release()
    throw error
  }
}

/** The commands of a kernel's dispatches on its memory. Throws RangeError if one names a missing operand. */
export function unboundCommands(
  { plan, inputs, outputs }: PlacedKernel,
  scratch: readonly DeviceBuffer[],
): UnboundCommand[] {
  const slices: Record<Operand['role'], readonly BufferSlice[]> = {
    input: inputs,
    output: outputs,
    scratch: scratch.map((buffer) => buffer.slice()),
  }
  return plan.dispatches.map((dispatch) => ({
    ...dispatch,
    flops: flopsOf(plan, dispatch),
    access: dispatch.bindings.map((binding) => binding.access),
    slices: dispatch.bindings.map(({ operand: { role, index } }) => {
      const slice = slices[role][index]
      if (slice === undefined) throw new RangeError(`${dispatch.label} binds ${role} ${index}, which was not given`)
      return slice
    }),
  }))
}
