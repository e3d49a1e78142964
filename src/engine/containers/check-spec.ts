import { availableParallelism } from 'node:os';
import { isleError } from '../../lib/errors.ts';
import type { ContainerSpec, HealthCheck, Resources, RestartPolicy } from '../model.ts';
import { autostartOf } from './autostart-labels.ts';
import { parseSignal } from './signals.ts';
import { parseLogOptions } from './log-options.ts';

/** Refuses what contradicts itself, in Docker's words. Returns warnings for what is accepted but has no effect. */
export function checkSpec(spec: ContainerSpec): string[] {
  checkRestartPolicy(spec.restartPolicy, spec.autoRemove);
  if (autostartOf(spec.labels) && spec.autoRemove)
    refuse('a container with isle.autostart cannot be removed when it ends: leave out --rm');
  if (spec.stopSignal) parseSignal(spec.stopSignal);
  if (spec.healthcheck) checkHealth(spec.healthcheck);
  checkHostname(spec);
  checkNetworkMode(spec);
  parseLogOptions(spec.logConfig);
  for (const entry of spec.env)
    if (entry === '' || entry.startsWith('=') || entry.includes('\0'))
      refuse(`invalid environment variable: ${JSON.stringify(entry)}`);
  for (const text of [spec.workingDir, ...(spec.entrypoint ?? []), ...(spec.command ?? [])])
    if (text.includes('\0')) refuse('a command and a working directory must not contain NUL');
  if (spec.workingDir !== '' && !spec.workingDir.startsWith('/'))
    refuse(`the working directory '${spec.workingDir}' is invalid, it needs to be an absolute path`);
  if (spec.stopTimeout !== undefined && spec.stopTimeout < -1)
    refuse('the stop timeout must be -1 or more seconds');
  if (spec.shmSize !== undefined && spec.shmSize < 0) refuse('SHM size can not be less than 0');
  if (spec.oomScoreAdj !== undefined && Math.abs(spec.oomScoreAdj) > 1000)
    refuse(`Invalid value ${spec.oomScoreAdj}, range for oom score adj is [-1000, 1000]`);
  return checkResources(spec.resources);
}

function refuse(message: string): never {
  throw isleError('invalidParameter', { message });
}

export function checkRestartPolicy(policy: RestartPolicy, autoRemove: boolean): void {
  if (autoRemove && policy.name !== 'no') refuse("can't create 'AutoRemove' container with restart policy");
  if (policy.maximumRetryCount < 0) refuse('invalid restart policy: maximum retry count cannot be negative');
  if (policy.name !== 'on-failure' && policy.maximumRetryCount !== 0)
    refuse("invalid restart policy: maximum retry count can only be used with 'on-failure'");
}

/** Nanoseconds: a probe more often than a thousand times a second is a mistake of units. */
const shortest = 1_000_000;

function checkHealth(check: HealthCheck): void {
  const durations = {
    Interval: check.interval,
    Timeout: check.timeout,
    StartPeriod: check.startPeriod,
    StartInterval: check.startInterval,
  };
  for (const [name, value] of Object.entries(durations))
    if (value !== undefined && value !== 0 && value < shortest)
      refuse(`${name} in Healthcheck cannot be less than 1ms`);
  if (check.retries !== undefined && check.retries < 0) refuse('Retries in Healthcheck cannot be negative');
  const [kind] = check.test;
  if (kind !== undefined && !['NONE', 'CMD', 'CMD-SHELL'].includes(kind))
    refuse(`Unknown healthcheck type '${kind}' (expected 'CMD', 'CMD-SHELL' or 'NONE')`);
}

function checkHostname({ hostname, domainname }: ContainerSpec): void {
  const label = /^[a-zA-Z0-9_]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9_])?$/;
  for (const [what, text] of Object.entries({ hostname, domainname })) {
    if (text === '') continue;
    if (text.length > 253 || !text.split('.').every((part) => label.test(part)))
      refuse(`invalid ${what} format: ${JSON.stringify(text.slice(0, 300)).slice(1, -1)}`);
  }
  if (hostname.length > 64)
    refuse(`invalid hostname: ${hostname.length} characters, the kernel takes 64 at most`);
}

function checkNetworkMode(spec: ContainerSpec): void {
  const shared = spec.networkMode.startsWith('container:');
  if (!shared) return;
  const clash = (what: string) => refuse(`conflicting options: ${what} and the container type network mode`);
  if (spec.hostname !== '') clash('hostname');
  if (spec.portBindings.length > 0 || spec.publishAllPorts) clash('port publishing');
  if (spec.links.length > 0) clash('links');
  if (spec.dns.length > 0) clash('dns');
  if (spec.extraHosts.length > 0) clash('custom host-to-IP mapping');
  if (spec.macAddress) clash('mac-address');
}

const smallestMemory = 6 * 1024 * 1024;

export function checkResources(limits: Resources): string[] {
  const { memory = 0, memorySwap = 0, memoryReservation = 0, memorySwappiness, nanoCpus = 0 } = limits;
  if (memory !== 0 && memory < smallestMemory) refuse('Minimum memory limit allowed is 6MB');
  if (memory > 0 && memorySwap > 0 && memorySwap < memory)
    refuse('Minimum memoryswap limit should be larger than memory limit, see usage');
  if (memory === 0 && memorySwap > 0)
    refuse('You should always set the Memory limit when using Memoryswap limit, see usage');
  if (
    memorySwappiness !== undefined &&
    memorySwappiness !== -1 &&
    (memorySwappiness < 0 || memorySwappiness > 100)
  )
    refuse(`Invalid value: ${memorySwappiness}, valid memory swappiness range is 0-100`);
  if (memoryReservation !== 0 && memoryReservation < smallestMemory)
    refuse('Minimum memory reservation allowed is 6MB');
  if (memory > 0 && memoryReservation > memory)
    refuse('Minimum memory limit can not be less than memory reservation limit, see usage');
  const cpus = availableParallelism();
  if (nanoCpus < 0 || nanoCpus > cpus * 1e9)
    refuse(`range of CPUs is from 0.01 to ${cpus}.00, as there are only ${cpus} CPUs available`);
  if (nanoCpus > 0 && (limits.cpuPeriod || limits.cpuQuota))
    refuse('Conflicting options: Nano CPUs cannot be set together with CPU Period or CPU Quota');
  if (limits.cpuPeriod && (limits.cpuPeriod < 1000 || limits.cpuPeriod > 1_000_000))
    refuse('CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)');
  if (limits.cpuQuota && limits.cpuQuota > 0 && limits.cpuQuota < 1000)
    refuse('CPU cfs quota can not be less than 1ms (i.e. 1000)');
  if (limits.blkioWeight && (limits.blkioWeight < 10 || limits.blkioWeight > 1000))
    refuse('Range of blkio weight is from 10 to 1000');
  if (limits.cpuShares !== undefined && limits.cpuShares < 0)
    refuse(`invalid CPU shares (${limits.cpuShares}): value must be a positive integer`);
  if (limits.pidsLimit !== undefined && limits.pidsLimit < -1)
    refuse(`invalid PIDs limit (${limits.pidsLimit}): -1 or 0 mean unlimited`);
  return [];
}
