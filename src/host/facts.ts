import { readFile, stat } from 'node:fs/promises';
import { loadavg } from 'node:os';
import { detectKvm, type Kvm } from './kvm.ts';

/** What an isolation may or may not share: to be compared with what a process inside sees. */
export interface HostFacts {
  /** As `uname -r` says it. */
  kernel: string;
  /** Of this boot of this kernel; who sees the same one runs on it. */
  bootId: string;
  /** Inode of each namespace of the engine, by its name in /proc/self/ns. */
  namespaces: Record<string, number>;
  /** Security modules that the kernel runs, such as `apparmor`. */
  securityModules: string[];
  cpu: string;
  kvm: Kvm;
  /** Processes that ran or wanted to, on average over the last minute. */
  load: number;
}

export async function hostFacts(): Promise<HostFacts> {
  const [kernel, bootId, modules, cpuinfo, kvm, namespaces] = await Promise.all([
    readFile('/proc/sys/kernel/osrelease', 'utf8'),
    readFile('/proc/sys/kernel/random/boot_id', 'utf8'),
    readFile('/sys/kernel/security/lsm', 'utf8').catch(() => ''),
    readFile('/proc/cpuinfo', 'utf8'),
    detectKvm(),
    ownNamespaces(),
  ]);
  return {
    kernel: kernel.trim(),
    bootId: bootId.trim(),
    namespaces,
    securityModules: modules.trim().split(',').filter(Boolean),
    // arm64 has no name there.
    cpu: /^model name\s*:\s*(.*)$/m.exec(cpuinfo)?.[1] ?? '',
    kvm,
    load: loadavg()[0] ?? 0,
  };
}

const namespaces = ['cgroup', 'ipc', 'mnt', 'net', 'pid', 'time', 'user', 'uts'];

async function ownNamespaces(): Promise<Record<string, number>> {
  const found = await Promise.all(
    namespaces.map(async (name): Promise<[string, number][]> => {
      const inode = await stat(`/proc/self/ns/${name}`).then(
        ({ ino }) => ino,
        () => undefined,
      );
      return inode === undefined ? [] : [[name, inode]];
    }),
  );
  return Object.fromEntries(found.flat());
}
