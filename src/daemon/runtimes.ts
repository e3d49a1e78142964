import { access, constants } from 'node:fs/promises';
import type { RuntimeOffer } from '../engine/runtimes.ts';
import { programPath } from '../host/installation.ts';
import { isleError } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import { once } from '../lib/once.ts';
import { createOciRuntime, type OciRuntimeOptions } from '../runtimes/oci/runtime.ts';
import type { MachineOptions } from '../runtimes/machine/runtime.ts';
import type { MicrovmOptions } from '../runtimes/microvm/runtime.ts';
import type { DaemonConfig } from './config.ts';

/** The one list of isolations: the configured OCI runtimes by their names, and those that Isle brings along. */
export function runtimeOffers(config: DaemonConfig, log: Logger): Record<string, RuntimeOffer> {
  const { paths, default: defaultName } = config.runtime;
  const own = ownOffers(config, log);
  const taken = Object.keys(paths).find((name) => Object.hasOwn(own, name));
  if (taken !== undefined)
    throw isleError('invalidConfig', {
      file: `runtime.paths.${taken}`,
      message: `the name belongs to Isle's own runtime: give yours another one`,
    });
  const offers = {
    ...Object.fromEntries(Object.entries(paths).map(([name, path]) => [name, ociOffer(config, path, log)])),
    ...own,
  };
  if (defaultName === 'machine')
    throw isleError('invalidConfig', {
      file: 'runtime.default',
      message: 'the runtime "machine" runs virtual machines, not containers: name another one',
    });
  if (!Object.hasOwn(offers, defaultName))
    throw isleError('invalidConfig', {
      file: 'runtime.default',
      message: `no path is given for "${defaultName}"`,
    });
  return offers;
}

/**
 * Isolations beside the configured ones. Each is made by a factory that throws `unavailable` (what is missing, what to
 * install) when this host cannot have it; its code is loaded only then.
 */
function ownOffers(config: DaemonConfig, log: Logger): Record<string, RuntimeOffer> {
  const machine = machineOffer(config, log);
  return {
    system: systemOffer(config, log),
    microvm: microvmOffer(config, log),
    machine,
    // What runs whole machines runs those that are nothing but a kernel.
    unikernel: machine,
  };
}

/** Stands on crun: it alone mounts the unified hierarchy of a hybrid host inside. */
function systemOffer(config: DaemonConfig, log: Logger): RuntimeOffer {
  const path = config.runtime.paths.crun ?? '/usr/bin/crun';
  return {
    path,
    async open() {
      await installed(path);
      const { createSystemRuntime } = await import('../runtimes/system/runtime.ts');
      return await createSystemRuntime(ociOptions(config, path, log));
    },
  };
}

/** Every part of it is looked for when the daemon starts; its kernel is prepared for the first guest. */
function microvmOffer(config: DaemonConfig, log: Logger): RuntimeOffer {
  const { microvm } = config;
  const lookUp = async () => {
    const { findHost } = await import('../runtimes/microvm/host.ts');
    return await findHost(microvm, programPath('isle-shim'));
  };
  return {
    path: microvm.qemu ?? `/usr/bin/qemu-system-${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}`,
    async open() {
      const { createMicrovmRuntime } = await import('../runtimes/microvm/runtime.ts');
      return await createMicrovmRuntime(await microvmOptions(config, log));
    },
    async caretaker() {
      const { createMicrovmCaretaker } = await import('../runtimes/microvm/runtime.ts');
      return await createMicrovmCaretaker(await microvmOptions(config, log));
    },
    async status() {
      const { accelerationOf } = await import('../runtimes/microvm/host.ts');
      return { accelerator: accelerationOf(await lookUp()) };
    },
  };
}

async function microvmOptions(config: DaemonConfig, log: Logger): Promise<MicrovmOptions> {
  const { microvm, dataRoot, runRoot, instance, runtime } = config;
  const { conmon, init, seccompProfile } = runtime;
  const { kernelSource } = await import('../runtimes/microvm/kernel-source.ts');
  const { prepareGuest } = await import('../runtimes/microvm/guest-image/prepare-guest.ts');
  const source = kernelSource(microvm.kernelSource);
  return {
    ...{ dataRoot, runRoot, instance, log, config: microvm },
    oci: { runtime: runtime.paths.crun ?? '/usr/bin/crun', conmon, init, seccompProfile },
    shim: programPath('isle-shim'),
    guestKernel: () => prepareGuest({ source, dataRoot, log: (message) => log.info(message) }),
  };
}

/** QEMU for this processor is looked for when the daemon starts; what only some machines need, when one does. */
function machineOffer(config: DaemonConfig, log: Logger): RuntimeOffer {
  const options = () => machineOptions(config, log);
  return {
    path: `/usr/bin/qemu-system-${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}`,
    // Who runs containers only lacks nothing.
    optional: true,
    // Two names share it.
    open: once(async () => {
      const { createMachineRuntime } = await import('../runtimes/machine/runtime.ts');
      return await createMachineRuntime(options());
    }),
    caretaker: once(async () => {
      const { createMachineCaretaker } = await import('../runtimes/machine/runtime.ts');
      return await createMachineCaretaker(options());
    }),
    async status() {
      const { accelerationOf, findHost } = await import('../runtimes/machine/host.ts');
      return { accelerator: accelerationOf(await findHost(config.machine, programPath('isle-vmm'))) };
    },
  };
}

function machineOptions(config: DaemonConfig, log: Logger): MachineOptions {
  const { machine, dataRoot, runRoot, instance, runtime } = config;
  const { conmon, init, seccompProfile } = runtime;
  return {
    ...{ dataRoot, runRoot, instance, log, config: machine },
    oci: { runtime: runtime.paths.crun ?? '/usr/bin/crun', conmon, init, seccompProfile },
    vmm: programPath('isle-vmm'),
  };
}

function ociOffer(config: DaemonConfig, path: string, log: Logger): RuntimeOffer {
  return {
    path,
    optional: true,
    async open() {
      await installed(path);
      return await createOciRuntime(ociOptions(config, path, log));
    },
  };
}

async function installed(path: string): Promise<void> {
  await access(path, constants.X_OK).catch((error: unknown) => {
    throw isleError('unavailable', { message: `${path} is not installed` }, error);
  });
}

/** What everything that stands on an OCI runtime is made from: all of them share one layout below the run root. */
export function ociOptions(config: DaemonConfig, path: string, log: Logger): OciRuntimeOptions {
  const { dataRoot, runRoot, instance, runtime } = config;
  const { conmon, init, seccompProfile } = runtime;
  return { dataRoot, runRoot, instance, log, config: { runtime: path, conmon, init, seccompProfile } };
}
