import { randomInt } from 'node:crypto';
import { close as closeFd } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { PortBinding } from '../engine/model.ts';
import { forgetUdpFlows } from '../host/conntrack.ts';
import { NetworkJob } from '../host/network-job.ts';
import { errnoOf, isIsleError, isleError, messageOf } from '../lib/errors.ts';
import { failpoint } from '../lib/failpoint.ts';
import type { Logger } from '../lib/log.ts';
import { canonical, familyOf, parseAddress } from '../lib/address.ts';
import { describePortOwner } from './port-owner.ts';
import { PortTable } from './port-table.ts';
import { proxyTcp, proxyUdp, type Proxy } from './proxy.ts';
import type { Publication } from './ruleset.ts';

/** Where a pod is reached from the host. */
export interface PodTarget {
  ipv4?: string;
  ipv6?: string;
}

/**
 * Host ports of pods. The kernel redirects them; a bound socket beside that keeps everyone else from the port and
 * learns who has it already. IPv6 clients of a pod without IPv6, and the host's own by ::1, go through a proxy in
 * this process: that alone pauses while the daemon is away.
 */
export class Ports {
  readonly #table = new PortTable();
  readonly #held = new Map<string, (() => void)[]>();
  readonly #nameOf: (podId: string) => string | undefined;
  readonly #log: Logger;
  /** At random, so that two engines of one host, or one after a restart, do not try the same ports. */
  #cursor = randomInt(1 << 16);

  constructor(options: { nameOf: (podId: string) => string | undefined; log: Logger }) {
    this.#nameOf = options.nameOf;
    this.#log = options.log;
  }

  /**
   * Takes host ports for `bindings`: all, or it throws `portInUse` (naming the owner), `portUnavailable` or
   * `invalidParameter` and takes none. Returns them with real addresses and ports.
   */
  async claim(
    podId: string,
    bindings: readonly PortBinding[],
    options: ClaimOptions,
  ): Promise<PortBinding[]> {
    const claimed = new Map<PortBinding, PortBinding[]>();
    // In the order they were asked for.
    const all = (): PortBinding[] => bindings.flatMap((binding) => claimed.get(binding) ?? []);
    try {
      // Those with a port of their own go first and together: a free one must not be taken from under them.
      const fixed = bindings.filter(isFixed);
      const wanted = fixed.map((binding) => atHostAddresses(binding, options));
      await this.#take(podId, wanted.flat(), options.target);
      for (const [index, binding] of fixed.entries()) claimed.set(binding, wanted[index]!);
      for (const binding of bindings)
        if (!isFixed(binding)) claimed.set(binding, await this.#claimFree(podId, binding, options));
    } catch (error) {
      this.release(podId, all());
      throw error;
    }
    return all();
  }

  /** After a restart: takes back what the pod has by record. A port somebody else took meanwhile is logged. */
  async resume(podId: string, bindings: readonly PortBinding[], target: PodTarget): Promise<void> {
    if (this.#held.has(podId)) return;
    for (const binding of bindings) this.#table.add(podId, binding);
    await Promise.all(
      bindings.map(async (binding) => {
        try {
          await this.#hold(podId, [binding], target);
        } catch (err) {
          this.#log.warn({ err, binding }, 'a published port could not be taken back');
        }
      }),
    );
  }

  release(podId: string, bindings: readonly PortBinding[]): void {
    this.#table.remove(podId, bindings);
    for (const end of this.#held.get(podId) ?? []) end();
    this.#held.delete(podId);
  }

  /** Lets go of sockets; the kernel's redirections stay. */
  close(): void {
    for (const ends of this.#held.values()) for (const end of ends) end();
    this.#held.clear();
  }

  async #claimFree(podId: string, binding: PortBinding, options: ClaimOptions): Promise<PortBinding[]> {
    const { hostPort: first, hostPortEnd } = binding;
    const range = first === 0 ? await ephemeralRange() : { first, last: hostPortEnd ?? first };
    let failure: unknown;
    for (const hostPort of this.#candidates(range, first === 0)) {
      try {
        const wanted = atHostAddresses({ ...binding, hostPort }, options);
        return await this.#take(podId, wanted, options.target);
      } catch (error) {
        if (!isIsleError(error, 'portInUse')) throw error;
        failure = error;
      }
    }
    throw failure;
  }

  /** A range in order; the ephemeral one from where the last search ended, and not for ever. */
  *#candidates({ first, last }: { first: number; last: number }, ephemeral: boolean): Iterable<number> {
    const size = last - first + 1;
    const tries = ephemeral ? Math.min(size, 512) : size;
    for (let tried = 0; tried < tries; tried++) {
      yield first + (ephemeral ? this.#cursor++ % size : tried);
    }
  }

  async #take(podId: string, wanted: PortBinding[], target: PodTarget): Promise<PortBinding[]> {
    if (wanted.length === 0) return wanted;
    const added: PortBinding[] = [];
    try {
      for (const binding of wanted) {
        this.#refuseTaken(binding);
        this.#table.add(podId, binding);
        added.push(binding);
      }
      await this.#hold(podId, wanted, target);
    } catch (error) {
      this.#table.remove(podId, added);
      throw error;
    }
    return wanted;
  }

  #refuseTaken(binding: PortBinding): void {
    const holder = this.#table.holder(binding);
    if (holder === undefined) return;
    const owner = `container ${this.#nameOf(holder) ?? holder.slice(0, 12)} has it`;
    throw isleError('portInUse', { address: endpointText(binding), owner });
  }

  async #hold(podId: string, bindings: readonly PortBinding[], target: PodTarget): Promise<void> {
    for (let at = 0; at < bindings.length; at += SOCKETS_AT_ONCE)
      await this.#holdSome(podId, bindings.slice(at, at + SOCKETS_AT_ONCE), target);
  }

  async #holdSome(podId: string, bindings: readonly PortBinding[], target: PodTarget): Promise<void> {
    const job = new NetworkJob();
    for (const binding of bindings) {
      const proxied = needsProxy(binding, target);
      job.socket({
        family: familyOf(binding.hostIp),
        type: binding.protocol,
        address: parseAddress(binding.hostIp)!,
        port: binding.hostPort,
        hold: !proxied,
        listen: proxied && binding.protocol === 'tcp',
      });
    }
    failpoint('network.port.before');
    const { sockets } = await job.run().catch((error: unknown) => explainBind(error, bindings));
    failpoint('network.port.after');
    const ends = this.#held.get(podId) ?? [];
    this.#held.set(podId, ends);
    for (const [index, { fd }] of sockets.entries()) {
      const binding = bindings[index]!;
      ends.push(needsProxy(binding, target) ? startProxy(fd, binding, target, this.#log) : closing(fd));
    }
  }
}

/** A range of ports is taken in steps: each is one call of the addon, which keeps a bounded list. */
const SOCKETS_AT_ONCE = 1000;

export interface ClaimOptions {
  target: PodTarget;
  /** Where ports without a host address go; undefined: everywhere. */
  hostBinding?: string;
  /** The host has IPv6. */
  hostIpv6: boolean;
}

/** What the kernel redirects for these bindings. */
export function publications(bindings: readonly PortBinding[], target: PodTarget): Publication[] {
  return bindings.flatMap((binding) => {
    const address = familyOf(binding.hostIp) === 'ipv4' ? target.ipv4 : target.ipv6;
    if (address === undefined || binding.hostIp === '::1') return [];
    const { protocol, hostIp, hostPort, port } = binding;
    return [{ protocol, hostIp, hostPort, address, port }];
  });
}

/**
 * UDP clients that go on sending from one port keep the way their first packet took: forget those of ports just
 * published (taken by the host itself so far) or withdrawn (still sent to the pod).
 */
export async function forgetFlows(bindings: readonly PortBinding[], target: PodTarget): Promise<void> {
  const ports = new Set(
    bindings.filter(({ protocol }) => protocol === 'udp').map(({ hostPort }) => hostPort),
  );
  if (ports.size === 0) return;
  const pod = [target.ipv4, target.ipv6].filter((one) => one !== undefined).map((one) => parseAddress(one)!);
  await forgetUdpFlows(
    ({ destination, destinationPort, answeredBy }) =>
      ports.has(destinationPort) &&
      (answeredBy.equals(destination) || pod.some((address) => address.equals(answeredBy))),
  );
}

/** IPv6 clients of a pod without IPv6; and the host's own by ::1, which the kernel cannot redirect to a bridge. */
function needsProxy({ hostIp, protocol }: PortBinding, target: PodTarget): boolean {
  if (familyOf(hostIp) === 'ipv4' || protocol === 'sctp') return false;
  return target.ipv6 === undefined || hostIp === '::' || hostIp === '::1';
}

function startProxy(fd: number, binding: PortBinding, target: PodTarget, log: Logger): () => void {
  const start = binding.protocol === 'tcp' ? proxyTcp : proxyUdp;
  const proxy: Proxy = start(fd, { address: (target.ipv6 ?? target.ipv4)!, port: binding.port }, log);
  return () => proxy.close();
}

function closing(fd: number): () => void {
  return () => closeFd(fd, () => {});
}

/** The host addresses a binding stands for. */
function hostAddresses(binding: PortBinding, { target, hostBinding, hostIpv6 }: ClaimOptions): string[] {
  const { protocol, port } = binding;
  if (binding.hostIp === '' && hostBinding === undefined) {
    const all: string[] = [];
    if (target.ipv4) all.push('0.0.0.0');
    // SCTP has no proxy: what the kernel cannot redirect is left out, as it is not asked for by name.
    if (hostIpv6 && (target.ipv6 || protocol !== 'sctp')) all.push('::');
    return all;
  }
  const asked = binding.hostIp === '' ? hostBinding! : binding.hostIp;
  const hostIp = canonical(asked);
  if (hostIp === undefined)
    throw isleError('invalidParameter', {
      message: `invalid host address "${asked}" for port ${port}/${protocol}`,
    });
  const family = familyOf(hostIp);
  if (family === 'ipv4' && !target.ipv4)
    throw isleError('invalidParameter', {
      message: `port ${port}/${protocol} cannot be published on ${hostIp}: the container has no IPv4 address`,
    });
  if (family === 'ipv6' && !target.ipv6 && protocol === 'sctp')
    throw isleError('notImplemented', {
      what: 'publishing SCTP from an IPv6 address to a container without IPv6',
    });
  return [hostIp];
}

function atHostAddresses(binding: PortBinding, options: ClaimOptions): PortBinding[] {
  const { port, protocol, hostPort } = binding;
  return hostAddresses(binding, options).map((hostIp) => ({ port, protocol, hostIp, hostPort }));
}

function isFixed({ hostPort, hostPortEnd }: PortBinding): boolean {
  return hostPort !== 0 && (hostPortEnd === undefined || hostPortEnd <= hostPort);
}

function endpointText({ hostIp, hostPort }: PortBinding): string {
  return hostIp.includes(':') ? `[${hostIp}]:${hostPort}` : `${hostIp}:${hostPort}`;
}

async function explainBind(error: unknown, bindings: readonly PortBinding[]): Promise<never> {
  const binding = bindings[Number(/socket (\d+)/.exec(messageOf(error))?.[1])];
  if (binding === undefined) throw error;
  const address = endpointText(binding);
  const code = errnoOf(error);
  if (code === 'EADDRINUSE') {
    const owner = await describePortOwner(binding.protocol, binding.hostIp, binding.hostPort);
    throw isleError('portInUse', { address, owner }, error);
  }
  if (code === 'EPROTONOSUPPORT')
    throw isleError(
      'portUnavailable',
      { address, why: `the host's kernel has no ${binding.protocol}` },
      error,
    );
  if (code === 'EADDRNOTAVAIL')
    throw isleError(
      'portUnavailable',
      { address, why: `${binding.hostIp} is not an address of this host` },
      error,
    );
  throw isleError('portUnavailable', { address, why: messageOf(error) }, error);
}

async function ephemeralRange(): Promise<{ first: number; last: number }> {
  const text = await readFile('/proc/sys/net/ipv4/ip_local_port_range', 'latin1');
  const [first = 32768, last = 60999] = text.trim().split(/\s+/).map(Number);
  return { first, last };
}
