import { access, readFile } from 'node:fs/promises';
import type { HostReport } from '../engine/system.ts';
import { detectCgroups } from '../host/cgroup/detect.ts';
import { run } from '../host/run.ts';
import type { DaemonConfig } from './config.ts';

/** What the host can do, for `docker info`. Looked up once, when first asked for. */
export function hostReporter(config: DaemonConfig): () => Promise<HostReport> {
  let report: Promise<HostReport> | undefined;
  return () => (report ??= lookUp(config));
}

async function lookUp(config: DaemonConfig): Promise<HostReport> {
  const [cgroups, runtimes, bridgeWarnings] = await Promise.all([
    detectCgroups(),
    runtimeVersions(config),
    forwardingWarnings(),
  ]);
  const support = await cgroups.support();
  return {
    cgroupVersion: cgroups.mode === 'v2' ? '2' : '1',
    cgroupDriver: 'cgroupfs',
    runtimes,
    securityOptions: ['name=seccomp,profile=builtin', ...(cgroups.mode === 'v2' ? ['name=cgroupns'] : [])],
    warnings: [...missing(support), ...bridgeWarnings],
    limits: {
      memory: support.memory,
      swap: support.swap,
      cpuCfsPeriod: support.cpuQuota,
      cpuCfsQuota: support.cpuQuota,
      cpuShares: support.cpuShares,
      cpuset: support.cpuset,
      pids: support.pids,
      oomKillDisable: support.oomKillDisable,
    },
  };
}

/** In the words of Docker's own warnings. */
function missing(
  support: Awaited<ReturnType<Awaited<ReturnType<typeof detectCgroups>>['support']>>,
): string[] {
  const lacks: [boolean, string][] = [
    [support.memory, 'No memory limit support'],
    [support.swap, 'No swap limit support'],
    [support.cpuQuota, 'No cpu cfs quota support'],
    [support.cpuShares, 'No cpu shares support'],
    [support.cpuset, 'No cpuset support'],
    [support.pids, 'No pids limit support'],
  ];
  return lacks.filter(([has]) => !has).map(([, text]) => `WARNING: ${text}`);
}

async function forwardingWarnings(): Promise<string[]> {
  const on = await readFile('/proc/sys/net/ipv4/ip_forward', 'utf8').catch(() => '1');
  return on.trim() === '1' ? [] : ['WARNING: IPv4 forwarding is disabled'];
}

async function runtimeVersions({ runtime }: DaemonConfig): Promise<HostReport['runtimes']> {
  const found = await Promise.all(
    Object.entries(runtime.paths).map(async ([name, path]) => {
      const version = await versionOf(path);
      return version === undefined ? [] : [[name, { path, version }] as const];
    }),
  );
  return Object.fromEntries(found.flat());
}

/** The last word of the first line of `<runtime> --version`; undefined when it is not installed. */
async function versionOf(path: string): Promise<string | undefined> {
  try {
    await access(path);
    const { stdout } = await run(path, ['--version'], { timeout: 5000 });
    return stdout.split('\n')[0]?.trim().split(/\s+/).at(-1) ?? '';
  } catch {
    return undefined;
  }
}
