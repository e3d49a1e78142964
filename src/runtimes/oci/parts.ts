import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Cgroups } from '../../host/cgroup/cgroup.ts';
import { detectCgroups } from '../../host/cgroup/detect.ts';
import { bootId } from '../../host/process.ts';
import type { Logger } from '../../lib/log.ts';
import type { Dressing } from './dressing.ts';
import { hostLimits } from './host-limits.ts';
import { type Layout, layoutOf } from './layout.ts';
import { NumberFiles } from './number-files.ts';
import { findTools, type RuntimeTools } from './runtime-tools.ts';
import { SeccompFilters } from './seccomp-filters.ts';
import { hostCapabilities } from './spec-capabilities.ts';
import { defaultProfilePath, seccompProfiles } from './spec-seccomp.ts';
import { securityHost } from './spec-security.ts';
import type { SpecHost } from './spec.ts';
import { restoreNull } from './staging.ts';

export interface OciConfig {
  /** `crun` or `runc`, or an absolute path of one of them. */
  runtime?: string;
  conmon?: string;
  init?: string;
  seccompProfile?: string;
}

export interface OciRuntimeOptions {
  runRoot: string;
  dataRoot: string;
  instance: string;
  config: OciConfig;
  log: Logger;
  /** Absent: plain containers. */
  dressing?: Dressing;
}

/** What a runtime works with; looked up once. */
export interface Parts extends OciRuntimeOptions {
  layout: Layout;
  tools: RuntimeTools;
  cgroups: Cgroups;
  exits: NumberFiles;
  /** Of processes executed in containers. */
  pids: NumberFiles;
  filters: SeccompFilters;
  host: SpecHost;
  boot: string;
}

/** Finds the host's tools and limits, and makes the run root's directories. */
export async function openParts(options: OciRuntimeOptions): Promise<Parts> {
  const layout = layoutOf(options.runRoot, options.instance);
  const capabilities = hostCapabilities();
  const [tools, cgroups] = await Promise.all([findTools(options.config), detectCgroups()]);
  await Promise.all([
    mkdir(layout.bundles, { recursive: true, mode: 0o700 }),
    mkdir(layout.state, { recursive: true, mode: 0o700 }),
  ]);
  await Promise.all([layout.pids, layout.terminals].map(emptyDirectory));
  // An earlier daemon may have died before it could.
  restoreNull();
  const onError = (error: Error) => options.log.error({ err: error }, 'cannot watch for files');
  const [exits, pids, filters, limits] = await Promise.all([
    NumberFiles.open(layout.exits, onError),
    NumberFiles.open(layout.pids, onError),
    SeccompFilters.open(layout.filters, tools.runtime),
    hostLimits(cgroups, capabilities.has('CAP_SYS_RESOURCE')),
  ]);
  const host: SpecHost = {
    capabilities,
    limits,
    security: securityHost(),
    seccomp: seccompProfiles(options.config.seccompProfile ?? defaultProfilePath),
    initPath: tools.init,
  };
  return { ...options, layout, tools, cgroups, exits, pids, filters, host, boot: bootId() };
}

/** What an earlier daemon was waiting for when it died. */
async function emptyDirectory(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  await Promise.all(
    (await readdir(directory)).map((name) => rm(join(directory, name), { recursive: true, force: true })),
  );
}
