import { readFile } from 'node:fs/promises';
import { arch, availableParallelism, hostname, release, totalmem } from 'node:os';
import { errnoOf } from '../lib/errors.ts';
import type { Store } from '../lib/table.ts';
import { randomUUID } from 'node:crypto';
import { hostFacts } from '../host/facts.ts';
import { programPath } from '../host/installation.ts';
import type { HostFacts, System, SystemInfo } from './engine.ts';
import { now } from './time.ts';

/** What only the parts below know about the host. */
export type HostReport = Pick<
  SystemInfo,
  'cgroupVersion' | 'cgroupDriver' | 'runtimes' | 'defaultRuntime' | 'securityOptions' | 'warnings' | 'limits'
>;

export class SystemService implements System {
  #options: {
    dataRoot: string;
    version: string;
    store: Store;
    debug: boolean;
    report(): Promise<HostReport>;
  };
  #startedAt = now();

  constructor(options: {
    dataRoot: string;
    version: string;
    store: Store;
    debug: boolean;
    report(): Promise<HostReport>;
  }) {
    this.#options = options;
  }

  async info(): Promise<SystemInfo> {
    const { dataRoot, version, store, debug, report } = this.#options;
    const [host, system] = await Promise.all([report(), readOsRelease()]);
    return {
      id: engineId(store),
      name: hostname(),
      version,
      kernelVersion: release(),
      ...system,
      architecture: architectures[arch()] ?? arch(),
      cpus: availableParallelism(),
      memory: totalmem(),
      dataRoot,
      debug,
      startedAt: this.#startedAt,
      ...host,
    };
  }

  host(): Promise<HostFacts> {
    return hostFacts();
  }

  async probe(): Promise<Buffer> {
    return await readFile(programPath('isle-probe'));
  }
}

/** As `uname -m` says it: what Docker's info shows. */
const architectures: Record<string, string> = { x64: 'x86_64', arm64: 'aarch64' };

/** Made once for a data root. */
function engineId(store: Store): string {
  const table = store.table<string>('engine');
  const known = table.get('id');
  if (known !== undefined) return known;
  const id = randomUUID();
  table.put('id', id);
  return id;
}

async function readOsRelease(): Promise<{ operatingSystem: string; osVersion: string }> {
  const text = await readFile('/etc/os-release', 'utf8').catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT') return '';
    throw error;
  });
  const values = new Map(
    text.split('\n').map((line) => {
      const at = line.indexOf('=');
      return [line.slice(0, at), line.slice(at + 1).replace(/^"|"$/g, '')];
    }),
  );
  return {
    operatingSystem: values.get('PRETTY_NAME') ?? 'Linux',
    osVersion: values.get('VERSION_ID') ?? '',
  };
}
