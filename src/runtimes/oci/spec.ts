import { defaultMaskedPaths, defaultReadonlyPaths } from '../../lib/hidden-paths.ts';
import type { Workload } from '../../engine/runtime.ts';
import { isleError } from '../../lib/errors.ts';
import type { HostLimits } from './host-limits.ts';
import { capabilitiesOf } from './spec-capabilities.ts';
import { devicesOf } from './spec-devices.ts';
import { mountsOf, rootPropagation, type StagedPaths } from './spec-mounts.ts';
import { mappingsOf, namespacesOf } from './spec-namespaces.ts';
import { processOf } from './spec-process.ts';
import { resourcesOf } from './spec-resources.ts';
import { customProfile, type SeccompProfiles } from './spec-seccomp.ts';
import { parseSecurityOptions, type SecurityHost, type SecurityOptions } from './spec-security.ts';
import { sysctlsOf } from './spec-sysctls.ts';
import type { OciSeccomp, OciSpec } from './spec-types.ts';
import { checkMapped, lookUpUser, type RootFileReader } from './spec-user.ts';

import type { UserNamespace } from './user-namespace.ts';

/** What the generator needs to know of the host; looked up once. */
export interface SpecHost {
  capabilities: Set<string>;
  limits: HostLimits;
  security: SecurityHost;
  seccomp: SeccompProfiles;
  /** Path of the static init for `init: true`. */
  initPath: string;
}

/**
 * The OCI configuration of a workload. Throws `invalidParameter` for whatever it asks that this host cannot give,
 * before anything was made.
 */
export async function specOf(
  workload: Workload,
  cgroupsPath: string,
  host: SpecHost,
  read: RootFileReader,
  staged: StagedPaths = {},
  userns?: UserNamespace,
): Promise<OciSpec> {
  const security = parseSecurityOptions(workload.securityOpt, workload.privileged, host.security);
  const granted = capabilitiesOf(workload, host.capabilities);
  const [user, mounts, { devices, rules }, resources, seccomp] = await Promise.all([
    lookUpUser(workload.user, workload.groupAdd, read),
    mountsOf(workload, host.initPath, staged, userns),
    devicesOf(workload),
    resourcesOf(workload.resources, host.limits),
    seccompOf(security, granted, host.seccomp),
  ]);
  checkMapped(user, workload);
  const spec: OciSpec = {
    ociVersion: '1.0.2',
    process: processOf(workload, user, granted, security, host.limits),
    root: { path: workload.rootfs, readonly: workload.readonlyRootfs },
    mounts,
    annotations: annotationsOf(workload),
    linux: {
      namespaces: namespacesOf(workload, userns),
      cgroupsPath,
      devices,
      resources: { ...resources, devices: rules },
      sysctl: sysctlsOf(workload, userns?.ownsNetwork ? userns.map : undefined),
      maskedPaths: workload.maskedPaths ?? (workload.privileged ? [] : defaultMaskedPaths),
      readonlyPaths: workload.readonlyPaths ?? (workload.privileged ? [] : defaultReadonlyPaths),
    },
  };
  if (workload.uts === 'private') {
    if (workload.hostname !== '') spec.hostname = name('hostname', workload.hostname, 64);
    if (workload.domainname !== '') spec.domainname = name('domain name', workload.domainname, 64);
  }
  if (userns) spec.linux.uidMappings = spec.linux.gidMappings = mappingsOf(userns);
  const propagation = rootPropagation(workload.mounts);
  if (propagation !== undefined) spec.linux.rootfsPropagation = propagation;
  if (seccomp) spec.linux.seccomp = seccomp;
  return spec;
}

async function seccompOf(
  security: SecurityOptions,
  granted: string[],
  profiles: SeccompProfiles,
): Promise<OciSeccomp | undefined> {
  if (security.seccomp === 'unconfined') return undefined;
  if (security.seccomp === 'default') return await profiles.default(granted);
  return customProfile(security.seccomp.profile, granted);
}

/**
 * crun acts on annotations of its own (`run.oci.*`: handlers, hooks, raw seccomp programs); they are not for
 * users, and an image's labels must never become one.
 */
function annotationsOf(workload: Workload): Record<string, string> {
  for (const [key, value] of Object.entries(workload.annotations)) {
    if (/^(run\.oci\.|io\.kubernetes\.cri-o|org\.systemd\.|isle\.)/.test(key))
      throw isleError('invalidParameter', { message: `annotation "${key}" is reserved` });
    if (key.includes('\0') || value.includes('\0'))
      throw isleError('invalidParameter', {
        message: `annotation ${JSON.stringify(key)} contains a NUL byte`,
      });
  }
  return { ...workload.annotations };
}

function name(what: string, value: string, limit: number): string {
  if (value.length > limit || /[\0\n/]/.test(value))
    throw isleError('invalidParameter', {
      message: `invalid ${what} ${JSON.stringify(value)}: at most ${limit} characters, without "/"`,
    });
  return value;
}
