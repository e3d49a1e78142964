import { mkdir } from 'node:fs/promises';
import { detectCgroups } from '../../host/cgroup/detect.ts';
import type { Logger } from '../../lib/log.ts';
import { createOciRuntime, type OciConfig, type OciRuntime } from '../oci/runtime.ts';
import { defaultProfilePath } from '../oci/spec-seccomp.ts';
import type { MicrovmConfig } from './config.ts';
import { monitorDressing } from '../confined/dressing.ts';
import { monitorProfile } from '../confined/profile.ts';
import { makeMonitorRoot } from '../confined/root.ts';
import type { Confinement } from './confinement.ts';
import { accelerationOf, findHost, type MicrovmHost, tscOf } from './host.ts';
import { layoutOf, type MicrovmLayout } from './layout.ts';
import { once } from '../../lib/once.ts';
import { monitorPaths } from './monitor-paths.ts';
import { microvmTraits } from './traits.ts';

/** What guests boot: prepared once, in the data root. */
export interface GuestKernel {
  kernel: string;
  initramfs: string;
  kernelArguments?: string;
}

export interface MicrovmOptions {
  runRoot: string;
  dataRoot: string;
  instance: string;
  config: MicrovmConfig;
  /** Of the containers that the monitors are confined in. */
  oci: OciConfig;
  /** Path of isle-shim. */
  shim: string;
  /** Throws `unavailable` when there is no kernel to be had. */
  guestKernel(): Promise<GuestKernel>;
  log: Logger;
}

export interface MicrovmParts {
  layout: MicrovmLayout;
  config: MicrovmConfig;
  host: MicrovmHost;
  /** What every VM needs and none changes; made when the first one is. Throws `guestKernel`. */
  confinement(): Promise<Confinement>;
  oci: OciRuntime;
  log: Logger;
  /** For when no VM is left. */
  removeCgroup(): Promise<void>;
}

/** Control groups of monitors lie apart: the OCI runtime beside takes all below `/<instance>` for its own. */
export function monitorInstance(instance: string): string {
  return `${instance}.vm`;
}

/** Throws `unavailable` with what this host lacks, unless nothing shall be started: `host` is given then. */
export async function openParts(options: MicrovmOptions, given?: MicrovmHost): Promise<MicrovmParts> {
  const { runRoot, dataRoot, instance, config, log } = options;
  const layout = layoutOf(runRoot, dataRoot);
  const host = given ?? (await findHost(config, options.shim));
  await mkdir(layout.vms, { recursive: true, mode: 0o711 });
  const [cgroups, oci] = await Promise.all([
    detectCgroups(),
    createOciRuntime({
      runRoot: layout.oci,
      dataRoot,
      instance: monitorInstance(instance),
      config: options.oci,
      dressing: monitorDressing('microvm', microvmTraits),
      log,
    }),
  ]);
  const { accelerator, why, qemu } = host;
  if (!given) log.info({ accelerator, why, qemu }, `microVMs run with ${accelerationOf(host)}`);
  return {
    layout,
    config,
    host,
    confinement: once(() => confinementOf(options, layout, host)),
    oci,
    log,
    removeCgroup: () => cgroups.cgroup(`/${monitorInstance(instance)}`).remove(),
  };
}

async function confinementOf(
  options: MicrovmOptions,
  layout: MicrovmLayout,
  host: MicrovmHost,
): Promise<Confinement> {
  const [system, seccompProfile, kernel, tsc] = await Promise.all([
    makeMonitorRoot(layout.monitorRoot, {
      directories: [monitorPaths.share, monitorPaths.directory],
      files: [monitorPaths.shim, monitorPaths.kernel, monitorPaths.initramfs],
    }),
    monitorProfile(options.oci.seccompProfile ?? defaultProfilePath),
    options.guestKernel(),
    host.accelerator === 'tcg' ? tscOf(host.shim) : undefined,
  ]);
  return { host, rootfs: layout.monitorRoot, system, seccompProfile, kernel, ...(tsc ? { tsc } : {}) };
}
