import { access, constants } from 'node:fs/promises';
import { basename, delimiter, isAbsolute, join } from 'node:path';
import { sealedCopy } from '../../host/sealed-file.ts';
import { isleError } from '../../lib/errors.ts';
import type { OciConfig } from './parts.ts';

export interface RuntimeTools {
  conmon: string;
  runtime: string;
  /**
   * A sealed copy of the OCI runtime in memory. crun copies itself so at every call, lest a container overwrite it
   * (CVE-2019-5736), and starts over from the copy; it sees that this is one and goes on (cloned_binary.c).
   */
  sealed?: number;
  /** What the OCI runtime is: their state directories and start protocols differ. */
  kind: 'crun' | 'runc';
  init: string;
}

/** Finds the programs. Throws `unavailable` with the missing one's name and package. */
export async function findTools(config: OciConfig): Promise<RuntimeTools> {
  const wanted = config.runtime ?? 'crun';
  const kind = basename(wanted).includes('runc') ? 'runc' : 'crun';
  const [conmon, runtime] = await Promise.all([find(config.conmon ?? 'conmon'), find(wanted)]);
  const tools: RuntimeTools = { conmon, runtime, kind, init: config.init ?? '/usr/bin/catatonit' };
  // A kernel that forbids executable memory files: crun then finds its own way.
  if (kind === 'crun') tools.sealed = await sealedCopy(runtime).catch(() => undefined);
  return tools;
}

const directories = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];

async function find(name: string): Promise<string> {
  const candidates = isAbsolute(name)
    ? [name]
    : [...directories, ...(process.env.PATH ?? '').split(delimiter)].map((directory) =>
        join(directory, name),
      );
  for (const path of candidates) {
    const runs = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (runs) return path;
  }
  throw isleError('unavailable', {
    message: `${name} is not installed: install the package ${basename(name)}, or run isle doctor`,
  });
}
