import { mkdir } from 'node:fs/promises';
import type { RuntimeTraits } from '../../engine/runtime.ts';
import { detectCgroups } from '../../host/cgroup/detect.ts';
import type { Logger } from '../../lib/log.ts';
import { once } from '../../lib/once.ts';
import { monitorDressing } from '../confined/dressing.ts';
import { monitorProfile } from '../confined/profile.ts';
import { makeMonitorRoot } from '../confined/root.ts';
import { createOciRuntime, type OciConfig, type OciRuntime } from '../oci/runtime.ts';
import { defaultProfilePath } from '../oci/spec-seccomp.ts';
import type { MachineConfig } from './config.ts';
import type { Confinement } from './confinement.ts';
import { findHost, type MachineHost } from './host.ts';
import { layoutOf, type MachineLayout, machinePaths } from './layout.ts';

export interface MachineOptions {
  runRoot: string;
  dataRoot: string;
  instance: string;
  config: MachineConfig;
  /** Of the containers that the monitors are confined in. */
  oci: OciConfig;
  /** Path of isle-vmm. */
  vmm: string;
  log: Logger;
}

export interface MachineParts {
  layout: MachineLayout;
  host: MachineHost;
  /** What every machine needs and none changes; made when the first one is. */
  confinement(): Promise<Confinement>;
  oci: OciRuntime;
  log: Logger;
  /** For when no machine is left. */
  removeCgroup(): Promise<void>;
}

export const machineTraits: RuntimeTraits = { ownKernel: true, idMap: true, bootsInit: false, machine: true };

/** Control groups of monitors lie apart: the OCI runtime beside takes all below `/<instance>` for its own. */
export function machineInstance(instance: string): string {
  return `${instance}.machine`;
}

/** Throws `unavailable` with what this host lacks, unless nothing shall be started: `host` is given then. */
export async function openParts(options: MachineOptions, given?: MachineHost): Promise<MachineParts> {
  const { runRoot, dataRoot, instance, log } = options;
  const layout = layoutOf(runRoot);
  const host = given ?? (await findHost(options.config, options.vmm));
  await mkdir(layout.machines, { recursive: true, mode: 0o711 });
  const [cgroups, oci] = await Promise.all([
    detectCgroups(),
    createOciRuntime({
      runRoot: layout.oci,
      dataRoot,
      instance: machineInstance(instance),
      config: options.oci,
      dressing: monitorDressing('machine', machineTraits),
      log,
    }),
  ]);
  return {
    layout,
    host,
    confinement: once(() => confinementOf(options, layout)),
    oci,
    log,
    removeCgroup: () => cgroups.cgroup(`/${machineInstance(instance)}`).remove(),
  };
}

async function confinementOf(
  { oci, vmm }: MachineOptions,
  { monitorRoot }: MachineLayout,
): Promise<Confinement> {
  const [system, seccompProfile] = await Promise.all([
    makeMonitorRoot(monitorRoot, {
      directories: [machinePaths.files, machinePaths.directory],
      files: [machinePaths.vmm],
    }),
    monitorProfile(oci.seccompProfile ?? defaultProfilePath),
  ]);
  return { rootfs: monitorRoot, system, seccompProfile, vmm };
}
