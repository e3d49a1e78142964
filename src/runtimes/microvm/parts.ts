import { mkdir, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import type { Logger } from '../../lib/log.ts';
import { createOciRuntime, type OciConfig, type OciRuntime } from '../oci/runtime.ts';
import { defaultProfilePath } from '../oci/spec-seccomp.ts';
import type { MicrovmConfig } from './config.ts';
import { type Confinement, monitorDressing, monitorProfile } from './confinement.ts';
import { findHost } from './host.ts';
import { layoutOf, type MicrovmLayout } from './layout.ts';
import { makeMonitorRoot } from './monitor-root.ts';

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
  confinement: Confinement;
  oci: OciRuntime;
  log: Logger;
  preparedFiles(): Promise<{ name: string; bytes: number }[]>;
}

/** Control groups of monitors lie apart: the OCI runtime beside takes all below `/<instance>` for its own. */
export function monitorInstance(instance: string): string {
  return `${instance}.vm`;
}

export async function openParts(options: MicrovmOptions): Promise<MicrovmParts> {
  const { runRoot, dataRoot, instance, config, log } = options;
  const layout = layoutOf(runRoot);
  const host = await findHost(config, options.shim);
  const kernel = await options.guestKernel();
  await mkdir(layout.vms, { recursive: true, mode: 0o711 });
  const [system, seccompProfile, oci] = await Promise.all([
    makeMonitorRoot(layout.monitorRoot),
    monitorProfile(options.oci.seccompProfile ?? defaultProfilePath),
    createOciRuntime({
      runRoot: layout.oci,
      dataRoot,
      instance: monitorInstance(instance),
      config: options.oci,
      dressing: monitorDressing,
      log,
    }),
  ]);
  const { accelerator, why } = host;
  log.info(
    { accelerator, why, qemu: host.qemu },
    `microVMs run with ${accelerator.toUpperCase()}${why === undefined ? '' : `: ${why}`}`,
  );
  return {
    layout,
    config,
    confinement: { host, rootfs: layout.monitorRoot, system, seccompProfile, kernel },
    oci,
    log,
    preparedFiles: async () =>
      await Promise.all(
        [kernel.kernel, kernel.initramfs].map(async (path) => ({
          name: basename(path),
          bytes: (await stat(path)).size,
        })),
      ),
  };
}
