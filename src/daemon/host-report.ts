import { readFile } from 'node:fs/promises';
import type { RuntimeInfo } from '../engine/engine.ts';
import type { RuntimeOffer, Runtimes } from '../engine/runtimes.ts';
import type { HostReport } from '../engine/system.ts';
import { detectCgroups } from '../host/cgroup/detect.ts';
import { run } from '../host/run.ts';
import type { ContainersConfig } from './config.ts';

/** What the host can do, for `docker info`. Looked up once, when first asked for. */
export function hostReporter(
  runtimes: Runtimes,
  { userns }: Pick<ContainersConfig, 'userns'>,
): () => Promise<HostReport> {
  let report: Promise<Omit<HostReport, 'runtimes' | 'defaultRuntime'>> | undefined;
  const infos = new Map<string, Promise<RuntimeInfo>>();
  return async () => {
    const [host, found] = await Promise.all([(report ??= lookUp()), runtimeInfos(runtimes, infos)]);
    const missing = runtimes.names
      .filter((name) => runtimes.why(name) !== undefined && !runtimes.offer(name)?.optional)
      .map((name) => `WARNING: the runtime ${name} is not available: ${runtimes.why(name)}`);
    return {
      ...host,
      // As Docker tells that containers have one unless they say otherwise.
      securityOptions: [...host.securityOptions, ...(userns === 'auto' ? ['name=userns'] : [])],
      runtimes: found,
      defaultRuntime: runtimes.default,
      warnings: [...host.warnings, ...missing],
    };
  };
}

async function lookUp(): Promise<Omit<HostReport, 'runtimes' | 'defaultRuntime'>> {
  const [cgroups, bridgeWarnings] = await Promise.all([detectCgroups(), forwardingWarnings()]);
  const support = await cgroups.support();
  return {
    cgroupVersion: cgroups.mode === 'v2' ? '2' : '1',
    cgroupDriver: 'cgroupfs',
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

/** Looked up once for each that works; one that does not may come later. */
async function runtimeInfos(
  runtimes: Runtimes,
  known: Map<string, Promise<RuntimeInfo>>,
): Promise<HostReport['runtimes']> {
  const found = await Promise.all(
    runtimes.names.map(async (name) => {
      const offer = runtimes.offer(name)!;
      const why = runtimes.why(name);
      if (why !== undefined) return [name, { path: offer.path, version: '', status: {}, why }] as const;
      const info = known.get(name) ?? describe(offer);
      known.set(name, info);
      return [name, await info] as const;
    }),
  );
  return Object.fromEntries(found);
}

async function describe({ path, status }: RuntimeOffer): Promise<RuntimeInfo> {
  const [version, facts] = await Promise.all([versionOf(path), status?.() ?? {}]);
  return { path, version, status: facts };
}

/** The number in the first line of `<program> --version`: `crun version 1.8.1`, `QEMU emulator version 7.2.22 (…)`. */
async function versionOf(path: string): Promise<string> {
  try {
    const { stdout } = await run(path, ['--version'], { timeout: 5000 });
    return /version v?(\S+)/.exec(stdout.split('\n')[0] ?? '')?.[1] ?? '';
  } catch {
    return '';
  }
}
