import type { Resources } from '../../engine/model.ts';
import { isleError } from '../../lib/errors.ts';
import { failpoint } from '../../lib/failpoint.ts';
import { setGuestMemory } from './balloon.ts';
import type { MicrovmParts } from './parts.ts';
import { checkMemory, monitorResources } from './resources.ts';
import type { Vm } from './vm.ts';

/**
 * Changes the limits of a microVM that was booted. Processor time is limited at once. Memory can be anything up to what
 * the guest was booted with: it gives the rest back. All or nothing.
 */
export async function updateLimits(vm: Vm, changes: Resources, { oci }: MicrovmParts): Promise<void> {
  const { workload } = vm.record;
  if (changes.pidsLimit !== undefined && changes.pidsLimit !== workload.resources.pidsLimit)
    throw isleError('invalidParameter', {
      message: 'the number of processes in a running microVM cannot be limited anew: stop it first',
    });
  const resources = { ...workload.resources, ...given(changes) };
  const before = workload.resources.memory || vm.record.memory;
  const after = resources.memory || vm.record.memory;
  checkMemory(after);
  if (after > vm.record.memory)
    throw isleError('invalidParameter', {
      message: `a running microVM cannot have more memory than it was booted with (${vm.record.memory} bytes; ${after} are asked for): stop it first`,
    });
  const limit = (memory: number) => oci.update(vm.monitor, monitorResources(resources, memory));
  failpoint('microvm.update.before');
  await limit(Math.max(before, after));
  if (after !== before) {
    try {
      await setGuestMemory(vm.place.qmp, after, before);
    } catch (error) {
      await oci.update(vm.monitor, monitorResources(workload.resources, before));
      throw error;
    }
    await limit(after);
  }
  failpoint('microvm.update.after');
  await vm.save({ workload: { ...workload, resources } });
}

function given(changes: Resources): Resources {
  return Object.fromEntries(Object.entries(changes).filter(([, value]) => value !== undefined));
}
