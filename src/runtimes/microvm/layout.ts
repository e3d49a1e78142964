import { join } from 'node:path';
import { isleError } from '../../lib/errors.ts';

/** Where microVMs lie below the run root; beside their ordinary containers' (see ../oci/layout.ts), which have `oci`. */
export interface MicrovmLayout {
  /** Run root of the runtime that confines the monitors. */
  oci: string;
  /** What a monitor sees as its root: mount points and nothing else. */
  monitorRoot: string;
  vms: string;
  vm(id: string): VmPlace;
  /** Where the monitor of a guest that was booted for nobody yet logs to, below the data root. */
  poolLogs: string;
  poolLog(monitor: string): string;
}

export interface VmPlace {
  directory: string;
  /** Ours alone. */
  record: string;
  /** What virtiofsd serves: `root` in it is the workload's root with its binds. */
  share: string;
  root: string;
  /** `/vm` inside: the shim's files. What they hold is as trustworthy as the monitor. */
  monitor: string;
  boot: string;
  console: string;
  outcome: string;
  /** QEMU's own directory in it. */
  sockets: string;
  agent: string;
  qmp: string;
}

export function layoutOf(runRoot: string, dataRoot: string): MicrovmLayout {
  const base = join(runRoot, 'microvm');
  const vms = join(base, 'vms');
  const poolLogs = join(dataRoot, 'guest-logs');
  return {
    oci: join(base, 'oci'),
    monitorRoot: join(base, 'root'),
    vms,
    vm: (id) => placeOf(join(vms, safe(id))),
    poolLogs,
    poolLog: (monitor) => join(poolLogs, safe(monitor), 'log'),
  };
}

function placeOf(directory: string): VmPlace {
  const monitor = join(directory, 'monitor');
  const share = join(directory, 'share');
  const sockets = join(monitor, 'sockets');
  return {
    directory,
    record: join(directory, 'vm.json'),
    share,
    root: join(share, 'root'),
    monitor,
    boot: join(monitor, 'boot'),
    console: join(monitor, 'console'),
    outcome: join(monitor, 'outcome'),
    sockets,
    agent: join(sockets, 'agent'),
    qmp: join(sockets, 'qmp'),
  };
}

function safe(id: string): string {
  if (!/^[A-Za-z0-9][\w.-]{0,127}$/.test(id))
    throw isleError('invalidParameter', { message: `invalid id ${JSON.stringify(id)}` });
  return id;
}
