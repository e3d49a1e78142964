import type { IsolationName } from './isolations.ts';
import type { Summary } from './samples.ts';

/**
 * What `isle compare --format json` prints; docs/compare.md describes it. Fields are added, never changed: another
 * meaning is another `schema`.
 */
export interface Report {
  schema: 'isle-compare/1';
  /** ISO 8601 */
  date: string;
  image: string;
  imageId: string;
  /** What was run in it; empty: an image that names none. */
  command: string[];
  host: HostPart;
  options: { runs: number; rounds: number; probeMilliseconds: number; trust: Trust; networkProbe: boolean };
  workload: Workload;
  isolations: IsolationReport[];
  advice: Advice;
}

export type Trust = 'own' | 'third-party' | 'hostile';

export interface HostPart {
  name: string;
  operatingSystem: string;
  kernel: string;
  cpu: string;
  cpus: number;
  /** bytes */
  memory: number;
  engine: string;
  kvm: { usable: boolean; why?: string };
  securityModules: string[];
  /** Processes that ran or wanted to, on average over the minute before. */
  load: number;
}

export interface Workload {
  /** `one-shot` ends by itself, `service` runs until it is stopped. */
  kind: 'one-shot' | 'service' | 'unknown';
  /** As the image or `--user` says; empty: root. */
  user: string;
  root: boolean;
  /** TCP ports that the image or the call exposes. */
  ports: number[];
  healthcheck: boolean;
  /** The command is an init, or there is none: it wants to be the first process of a whole system. */
  isInit: boolean;
}

export interface IsolationReport {
  isolation: IsolationName;
  /** `measured`: all of it; `failed`: the workload did not run in it; `unavailable`: it does not exist here. */
  state: 'measured' | 'failed' | 'unavailable';
  reason?: string;
  /** What a reader of the numbers must know. */
  notes: string[];
  /** Milliseconds. From the request to create it on, unless said otherwise. */
  times: Times;
  memory?: Memory;
  disk?: Disk;
  probes: Probes;
  sharing?: Sharing;
}

export interface Times {
  /** Of the very first run, which finds nothing prepared or cached. */
  cold?: number;
  /** The engine said that it runs. */
  started?: Summary;
  firstOutput?: Summary;
  /** Its first exposed port took a connection. */
  listening?: Summary;
  /** A one-shot had ended. */
  ended?: Summary;
  healthy?: number;
  /** The system inside had reached its target. */
  booted?: Summary;
  /** From the request to stop it to its end. */
  stop?: Summary;
  /** It ignored its stop signal and was killed after the time-out: then `stop` says how long the kill took. */
  ignoresStop?: boolean;
  /** One further command inside, from request to end. */
  exec?: Summary;
}

/** Bytes. */
export interface Memory {
  /** Proportional resident memory (PSS) of everything it needs. */
  total: Summary;
  /** The part of it that is a guest's RAM, as far as it has been touched. */
  guest: number;
  /** The part of monitors: what the isolation needs beside the workload. */
  monitors: number;
  /** `workload` was running, or (as it ends by itself) only a `placeholder`. */
  of: 'workload' | 'placeholder';
}

/** Bytes. */
export interface Disk {
  /** What is its own: the writable layer after a run. */
  own: number;
  /** Made once for all of this isolation. */
  prepared: { name: string; bytes: number }[];
}

export interface Probes {
  cpu?: Summary;
  fileWrite?: Summary;
  fileRead?: Summary;
  smallFiles?: Summary;
  netSend?: Summary;
  netReceive?: Summary;
  netRoundTrips?: Summary;
  systemCall?: Summary;
  fork?: Summary;
}

export interface Sharing {
  kernel: string;
  sharesKernel: boolean;
  /** The user on the host that root inside is; absent where the kernel is its own. */
  rootIs?: number;
  /** Users on the host that processes of it are. */
  hostUsers: number[];
  capabilities: string[];
  /** Of the host's namespaces those that it lives in. */
  sharedNamespaces: string[];
  seccomp: 'none' | 'strict' | 'filter' | 'unknown';
  noNewPrivileges: boolean;
  /** Empty: none confines it. */
  securityModule: string;
  /** Names below /dev. */
  devices: string[];
  /** System calls of the list in native/probe/reach.c that a kernel answers, and how many were tried. */
  reachableCalls: string[];
  triedCalls: number;
}

export interface Advice {
  isolation: IsolationName | 'none';
  trust: Trust;
  /** One sentence. */
  summary: string;
  reasons: string[];
}
