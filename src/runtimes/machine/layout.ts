import { join } from 'node:path';
import { isleError } from '../../lib/errors.ts';

/** Where machines lie below the run root; beside their ordinary containers' (see ../oci/layout.ts), which have `oci`. */
export interface MachineLayout {
  /** Run root of the runtime that confines the monitors. */
  oci: string;
  /** What a monitor sees as its root: mount points and nothing else. */
  monitorRoot: string;
  machines: string;
  machine(id: string): MachinePlace;
}

export interface MachinePlace {
  directory: string;
  /** Ours alone. */
  record: string;
  /** `/vm` inside: the supervisor's files. What they hold is as trustworthy as the monitor. */
  monitor: string;
  boot(generation: number): string;
  control: string;
  outcome: string;
  /** QEMU's own directory in it, one for each generation. */
  socket(generation: number, name: string): string;
  /** `/files` inside: every file of the host that QEMU uses is mounted in it. */
  files: string;
}

/** The same inside. */
export const machinePaths = {
  vmm: '/isle/vmm',
  directory: '/vm',
  files: '/files',
  /** The machine's own directory on the data root. */
  own: '/files/own',
  socket: (generation: number, name: string) => `/vm/${generation}/${name}`,
} as const;

export function layoutOf(runRoot: string): MachineLayout {
  const base = join(runRoot, 'machine');
  const machines = join(base, 'machines');
  return {
    oci: join(base, 'oci'),
    monitorRoot: join(base, 'root'),
    machines,
    machine: (id) => placeOf(join(machines, safe(id))),
  };
}

function placeOf(directory: string): MachinePlace {
  const monitor = join(directory, 'monitor');
  return {
    directory,
    record: join(directory, 'machine.json'),
    monitor,
    boot: (generation) => join(monitor, `boot.${generation}`),
    control: join(monitor, 'control'),
    outcome: join(monitor, 'outcome'),
    socket: (generation, name) => join(monitor, String(generation), name),
    files: join(directory, 'files'),
  };
}

function safe(id: string): string {
  if (!/^[A-Za-z0-9][\w.-]{0,127}$/.test(id))
    throw isleError('invalidParameter', { message: `invalid id ${JSON.stringify(id)}` });
  return id;
}
