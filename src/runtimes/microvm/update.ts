import type { Resources } from '../../engine/model.ts';
import { isleError } from '../../lib/errors.ts';
import type { MicrovmParts } from './parts.ts';
import { monitorResources } from './resources.ts';
import type { Vm } from './vm.ts';

/**
 * Changes the limits of a microVM that was booted. Processor time is limited at once. Memory was given to the guest when
 * it booted: what is asked for must be that.
 */
export async function updateLimits(vm: Vm, changes: Resources, { oci }: MicrovmParts): Promise<void> {
  const { memory = 0 } = changes;
  if (memory > 0 && memory !== vm.record.memory)
    throw isleError('invalidParameter', {
      message: `the memory of a running microVM cannot be changed from ${vm.record.memory} to ${memory} bytes: its guest was booted with it. Stop it first`,
    });
  const limits = monitorResources({ ...vm.record.workload.resources, ...changes }, vm.record.memory);
  await oci.update(vm.id, limits);
  await vm.save({
    workload: { ...vm.record.workload, resources: { ...vm.record.workload.resources, ...changes } },
  });
}
