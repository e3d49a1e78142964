import { messageOf } from '../../lib/errors.ts';
import { Failure } from '../failure.ts';
import { type Bench, type Body, probePath } from './bench.ts';
import { untilBooted } from './boot.ts';
import { execute } from './capture.ts';
import { type Footprint, footprintOf } from './footprint.ts';
import type { Isolation } from './isolations.ts';
import type { Peer } from './peer.ts';
import { peerPort } from './peer.ts';
import type { Plan } from './plan.ts';
import { type Facts, parseFacts } from './sharing.ts';
import type { Probes } from './report.ts';

/** Seconds after which the placeholder ends, whatever became of its client. */
const longest = '900';

/** Names of the probes that are run one after the other, as progress shows them. */
export const probeKinds = ['cpu', 'files', 'net', 'calls'] as const;
export type ProbeKind = (typeof probeKinds)[number];

/** A container in which nothing runs but the probes (and, in a system container, its init). */
export class ProbeBox {
  readonly isolation: Isolation;
  readonly facts: Facts;
  readonly footprint: Footprint;
  readonly execTimes: number[] = [];
  readonly results: Record<keyof Probes, number[]> = {
    cpu: [],
    fileWrite: [],
    fileRead: [],
    smallFiles: [],
    netSend: [],
    netReceive: [],
    netRoundTrips: [],
    systemCall: [],
    fork: [],
  };
  readonly #bench: Bench;
  readonly #id: string;

  static async start(bench: Bench, plan: Plan, isolation: Isolation): Promise<ProbeBox> {
    const id = await bench.create(isolation.name, boxBody(plan, isolation));
    await bench.putProbe(id);
    await bench.start(id);
    if (isolation.name === 'system') await untilBooted(bench, id);
    const facts = parseFacts(await execute(bench, id, [probePath, 'facts']));
    return new ProbeBox(bench, id, isolation, facts, await footprintOf(bench, id));
  }

  private constructor(bench: Bench, id: string, isolation: Isolation, facts: Facts, footprint: Footprint) {
    this.#bench = bench;
    this.#id = id;
    this.isolation = isolation;
    this.facts = facts;
    this.footprint = footprint;
  }

  /** How long one further command takes. */
  async timeExec(): Promise<void> {
    const from = performance.now();
    await execute(this.#bench, this.#id, [probePath, 'true']);
    this.execTimes.push(performance.now() - from);
  }

  /** Runs one probe for about `milliseconds` for each thing that it measures. */
  async run(kind: ProbeKind, peer: Peer | undefined, milliseconds: number): Promise<void> {
    const time = String(milliseconds);
    const { results } = this;
    if (kind === 'cpu') {
      const answer = await this.#probe<Amount>('cpu', time);
      results.cpu.push(perSecond(answer.bytes, answer.ns));
    } else if (kind === 'files') {
      const { write, read, small } = await this.#probe<Record<'write' | 'read' | 'small', Amount>>(
        'files',
        '/',
        time,
      );
      results.fileWrite.push(perSecond(write.bytes, write.ns));
      results.fileRead.push(perSecond(read.bytes, read.ns));
      results.smallFiles.push(perSecond(small.files, small.ns));
    } else if (kind === 'net') {
      if (peer?.address === undefined) return;
      const { send, receive, trips } = await this.#probe<Record<'send' | 'receive' | 'trips', Amount>>(
        'net',
        peer.address,
        String(peerPort),
        time,
      );
      results.netSend.push(perSecond(send.bytes, send.ns));
      results.netReceive.push(perSecond(receive.bytes, receive.ns));
      results.netRoundTrips.push(perSecond(trips.count, trips.ns));
    } else {
      const { calls, forks } = await this.#probe<Record<'calls' | 'forks', Amount>>('calls', time);
      results.systemCall.push(1e9 / perSecond(calls.count, calls.ns));
      results.fork.push(1e9 / perSecond(forks.count, forks.ns));
    }
  }

  async remove(): Promise<void> {
    await this.#bench.remove(this.#id);
  }

  /** As root, as the image's user may not write to its root. */
  async #probe<T>(...args: string[]): Promise<T> {
    const output = await execute(this.#bench, this.#id, [probePath, ...args], { user: '0' });
    try {
      return JSON.parse(output) as T;
    } catch (cause) {
      throw new Failure(`the probe ${args[0]} answered nonsense: ${messageOf(cause)}`, { cause });
    }
  }
}

/** What a probe counts, and in how long. */
interface Amount {
  bytes?: number;
  files?: number;
  count?: number;
  ns: number;
}

function perSecond(amount: number | undefined, ns: number): number {
  if (amount === undefined || !(amount > 0) || !(ns > 0))
    throw new Failure('a probe measured nothing: its time or its amount is missing');
  return (amount / ns) * 1e9;
}

/** The workload's limits, user and network, but nothing of it that could disturb the probes. */
function boxBody({ body }: Plan, isolation: Isolation): Body {
  const {
    Binds: _binds,
    Mounts: _mounts,
    PortBindings: _ports,
    PublishAllPorts: _all,
    ...host
  } = body.HostConfig;
  const made: Body = {
    ...body,
    Healthcheck: { Test: ['NONE'] },
    HostConfig: { ...host, ...isolation.hostConfig },
  };
  // There the init runs; everywhere else nothing but a placeholder.
  if (isolation.name === 'system') return { ...made, Cmd: undefined, Entrypoint: undefined };
  return { ...made, Entrypoint: [probePath], Cmd: ['idle', longest] };
}
