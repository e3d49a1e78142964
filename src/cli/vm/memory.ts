import { parseBytes } from '../../lib/units.ts';
import { Failure } from '../failure.ts';
import { SubOptions } from './sub-options.ts';

const mebibyte = 1024 ** 2;
const gibibyte = 1024 ** 3;

/** A number is MiB, as virt-install's; `2G` and the like are sizes. Bytes. */
function parseMebibytes(given: string): number {
  return sizeIn(given, mebibyte);
}

/** A number is GiB, as virt-install's sizes of disks; `512M` and the like are sizes. Bytes. */
export function parseGibibytes(given: string): number {
  return sizeIn(given, gibibyte);
}

/** A number is in `unit`s (bytes), as virsh's; `2G` and the like are sizes. Bytes. */
export function parseSize(given: string, unit: number): number {
  return sizeIn(given, unit);
}

function sizeIn(given: string, unit: number): number {
  const bytes = /^\d+(\.\d+)?$/.test(given) ? Math.round(Number(given) * unit) : parseBytes(given);
  if (bytes > 0 && Number.isSafeInteger(bytes)) return bytes;
  throw new Failure(`no size: "${given}"`);
}

export interface Memory {
  memory: number;
  maxMemory?: number;
}

/** `2048`, `2048,maxmemory=4096`. */
export function parseMemory(given: string): Memory {
  const options = new SubOptions(given, 'memory');
  const current = options.text('currentMemory', 'currentmemory');
  const memory = options.text('memory');
  const most = options.text('maxmemory', 'maxMemory');
  options.refuse('hugepages', 'Isle takes memory as the host gives it');
  options.ignore('Isle chooses', 'maxMemory.slots', 'slots');
  options.end();
  const start = current ?? memory ?? most;
  if (start === undefined) throw new Failure('no size: for example 2048');
  const limit = most ?? (current === undefined ? undefined : memory);
  return {
    memory: wholeMebibytes(parseMebibytes(start)),
    ...(limit !== undefined && { maxMemory: wholeMebibytes(parseMebibytes(limit)) }),
  };
}

function wholeMebibytes(bytes: number): number {
  return Math.ceil(bytes / mebibyte) * mebibyte;
}

export interface Vcpus {
  vcpus: number;
  maxVcpus?: number;
  cpuset?: string;
}

/** `2`, `2,maxvcpus=4`, `vcpus=2,…`. */
export function parseVcpus(given: string): { value: Vcpus; notes: string[] } {
  const options = new SubOptions(given, 'vcpus');
  const count = options.integer('vcpus');
  const current = options.integer('current', 'vcpu.current');
  const most = options.integer('maxvcpus');
  const cpuset = options.text('cpuset', 'vcpu.cpuset');
  const parts = ['sockets', 'dies', 'cores', 'threads'].map((name) => options.integer(name));
  options.ignore('Isle chooses', 'placement', 'vcpu.placement');
  options.end();
  const product = parts.reduce<number>((all, one) => all * (one ?? 1), 1);
  const said = parts.some((part) => part !== undefined);
  const total = count ?? most ?? (said ? product : undefined);
  if (total === undefined || total === 0) throw new Failure('no number of vCPUs: for example 2');
  const limit = most ?? (current === undefined ? undefined : total);
  if (said && product !== (limit ?? total))
    throw new Failure(`sockets × cores × threads make ${product}, not ${limit ?? total} vCPUs`);
  return {
    value: {
      vcpus: current ?? total,
      ...(limit !== undefined && { maxVcpus: limit }),
      ...(cpuset !== undefined && { cpuset }),
    },
    notes: said
      ? ['sockets, cores and threads have no effect: Isle gives the guest single cores']
      : options.notes,
  };
}

/** `host-passthrough`, `EPYC,+svm,disable=vmx`, as QEMU's `-cpu` wants it; undefined: the best there is. */
export function parseCpu(given: string): string | undefined {
  const [first = '', ...features] = given.split(',').map((word) => word.trim());
  const model = first.replace(/^(mode|model)=/, '');
  const host = /^(host|host-passthrough|host-model|host-model-only|maximum|max)$/.test(model);
  if (!host && !/^[A-Za-z0-9][\w.-]*$/.test(model)) throw new Failure(`no model of a CPU: "${first}"`);
  const switches = features.flatMap((feature) => {
    if (/^(model|fallback|check|match|cache\.mode|migratable)=/.test(feature)) return [];
    const named = /^(\+|-|force=|require=|optional=|disable=|forbid=)([\w.-]+)$/.exec(feature);
    if (!named) throw new Failure(`no feature of a CPU: "${feature}" (for example +vmx or disable=svm)`);
    return [`${/^(-|disable|forbid)/.test(named[1]!) ? '-' : '+'}${named[2]}`];
  });
  if (host && switches.length === 0) return undefined;
  return [host ? 'max' : model, ...switches].join(',');
}
