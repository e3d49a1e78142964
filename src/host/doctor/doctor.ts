import { messageOf } from '../../lib/errors.ts';
import { checkCgroups, checkControllers } from './cgroups.ts';
import { checkDisk, checkOverlay } from './disk.ts';
import type { Check, DoctorOptions, Finding } from './finding.ts';
import { checkGroup, checkKernel, checkRoot } from './kernel.ts';
import { checkInotify, checkRlimits } from './limits.ts';
import { checkIdmappedLayers, checkIdmappedMounts, checkUserNamespaces } from './namespaces.ts';
import { checkArchitectures, checkFirmware, checkQemuImg, checkSwtpm } from './machines.ts';
import { checkBridgeFilter, checkForwardPolicy, checkForwarding } from './network.ts';
import { checkDelegation, checkLxcfs } from './system-containers.ts';
import { checkCatatonit, checkConmon, checkCrun, checkNftables, checkSeccomp } from './tools.ts';
import {
  checkGuestKernel,
  checkGuestNetwork,
  checkKvm,
  checkQemu,
  checkVirtiofsd,
} from './virtualisation.ts';

const checks: Readonly<Record<string, Check>> = {
  root: checkRoot,
  kernel: checkKernel,
  cgroups: checkCgroups,
  controllers: checkControllers,
  overlay: checkOverlay,
  disk: checkDisk,
  crun: checkCrun,
  conmon: checkConmon,
  catatonit: checkCatatonit,
  seccomp: checkSeccomp,
  nftables: checkNftables,
  'forward-policy': checkForwardPolicy,
  'ip-forward': checkForwarding,
  'br-netfilter': checkBridgeFilter,
  'user-namespaces': checkUserNamespaces,
  'idmapped-mounts': checkIdmappedMounts,
  'idmapped-layers': checkIdmappedLayers,
  lxcfs: checkLxcfs,
  'cgroup2-delegation': checkDelegation,
  rlimits: checkRlimits,
  inotify: checkInotify,
  group: checkGroup,
  kvm: checkKvm,
  qemu: checkQemu,
  virtiofsd: checkVirtiofsd,
  'guest-kernel': checkGuestKernel,
  'guest-network': checkGuestNetwork,
  'qemu-img': checkQemuImg,
  firmware: checkFirmware,
  swtpm: checkSwtpm,
  architectures: checkArchitectures,
};

/** Looks at everything Isle needs of this host, without an engine. Order and names are stable; never throws. */
export function examineHost(options: DoctorOptions): Promise<Finding[]> {
  return Promise.all(Object.entries(checks).map(([name, check]) => examine(name, check, options)));
}

/** Runs the fixes of what is not ok and looks again. `told` hears of each fix, with the error of one that failed. */
export async function fixHost(
  options: DoctorOptions,
  findings: readonly Finding[],
  told: (finding: Finding, error?: unknown) => void,
): Promise<Finding[]> {
  for (const finding of findings) {
    if (finding.status === 'ok' || !finding.fix) continue;
    try {
      await finding.fix.run();
      told(finding);
    } catch (error) {
      told(finding, error);
    }
  }
  return examineHost(options);
}

export type { DoctorOptions, Finding };

/** What an ordinary user would find broken only because it may not try. */
const rootOnly = new Set([
  'controllers',
  'overlay',
  'nftables',
  'forward-policy',
  'br-netfilter',
  'user-namespaces',
  'idmapped-mounts',
  'idmapped-layers',
  'guest-network',
]);

async function examine(name: string, check: Check, options: DoctorOptions): Promise<Finding> {
  if (rootOnly.has(name) && process.geteuid?.() !== 0) {
    const why = 'it is tried out, which takes root';
    return { name, status: 'warn', found: 'not looked at', why, advice: 'sudo isle doctor' };
  }
  try {
    return await check(options);
  } catch (error) {
    return {
      name,
      status: 'warn',
      found: `could not be checked: ${messageOf(error)}`,
      why: 'a host that cannot be looked at may hold surprises',
      advice: 'sudo isle doctor',
    };
  }
}
