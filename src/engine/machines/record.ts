import { isleError, isIsleError } from '../../lib/errors.ts';
import type { ContainerRecord } from '../containers/record.ts';
import { isRunning } from '../containers/records.ts';
import type { EngineContext } from '../context.ts';
import type { MachineControl, MachineSpec } from '../machine.ts';
import type { Container, ContainerSpec } from '../model.ts';

/** The record of a virtual machine. */
export type MachineRecord = ContainerRecord & { spec: ContainerSpec & { machine: MachineSpec } };

/** The name of the runtime that runs them. */
export const machineRuntime = 'machine';

export function isMachine<T extends Pick<Container, 'spec'>>(
  record: T,
): record is T & { spec: ContainerSpec & { machine: MachineSpec } } {
  return record.spec.machine !== undefined;
}

export function allMachines(ctx: Pick<EngineContext, 'records'>): MachineRecord[] {
  return ctx.records.all().filter(isMachine);
}

/** By id, name or prefix. Throws `noSuchMachine`, `ambiguousId`. */
export function findMachine(ctx: Pick<EngineContext, 'records'>, reference: string): MachineRecord {
  const record = findAny(ctx, reference);
  if (record !== undefined && isMachine(record)) return record;
  throw isleError('noSuchMachine', {
    id: reference,
    hint: record === undefined ? '' : ' (it is a container: use the commands without "vm")',
  });
}

function findAny(ctx: Pick<EngineContext, 'records'>, reference: string): ContainerRecord | undefined {
  try {
    return ctx.records.find(reference);
  } catch (error) {
    if (isIsleError(error, 'noSuchContainer')) return undefined;
    throw error;
  }
}

/** Replaces the hardware by what `change` makes of it. */
export function changeMachine(
  ctx: Pick<EngineContext, 'records'>,
  id: string,
  change: (machine: MachineSpec) => MachineSpec,
): MachineRecord {
  const changed = ctx.records.change(id, (record) => {
    if (!isMachine(record)) throw isleError('noSuchMachine', { id, hint: '' });
    return { spec: { ...record.spec, machine: change(record.spec.machine) } };
  });
  if (!isMachine(changed)) throw isleError('noSuchMachine', { id, hint: '' });
  return changed;
}

/** What the runtime can do with it now. Throws `conflict` for one that does not run or is paused. */
export function controlOf(ctx: EngineContext, reference: string): Controlled {
  const found = controlAny(ctx, reference);
  if (found.record.state.phase === 'paused')
    throw isleError('conflict', {
      message: `the machine "${found.record.name}" is suspended: let it go on first (isle vm resume ${found.record.name})`,
    });
  return found;
}

/** Like {@link controlOf}, of one that is paused too. */
export function controlAny(ctx: EngineContext, reference: string): Controlled {
  const record = findMachine(ctx, reference);
  if (!isRunning(record.state))
    throw isleError('conflict', { message: `the machine "${record.name}" does not run` });
  const { machines } = ctx.runtimeOf(record);
  if (machines === undefined)
    throw isleError('internal', { message: `the runtime ${record.runtimeName} runs no virtual machines` });
  return { record, control: machines };
}

export interface Controlled {
  record: MachineRecord;
  control: MachineControl;
}

/** For what has no meaning for a machine. `instead`: what has. */
export function refuseMachine(record: Pick<Container, 'name' | 'spec'>, what: string, why: string): void {
  if (isMachine(record)) throw isleError('notForMachines', { what, name: record.name, why });
}
