import type { IdMap, Workload } from '../../engine/runtime.ts';
import { isleError } from '../../lib/errors.ts';

const ipcSysctls = new Set([
  'kernel.msgmax',
  'kernel.msgmnb',
  'kernel.msgmni',
  'kernel.sem',
  'kernel.shmall',
  'kernel.shmmax',
  'kernel.shmmni',
  'kernel.shm_rmid_forced',
]);

/** Docker's: ports below 1024 and ping need no capability inside a network namespace of one's own. */
const networkDefaults = {
  'net.ipv4.ip_unprivileged_port_start': '0',
  'net.ipv4.ping_group_range': '0 2147483647',
};

/** The same where only these groups exist. */
function networkDefaultsOf(idMap: IdMap | undefined): Record<string, string> {
  return idMap ? { ...networkDefaults, 'net.ipv4.ping_group_range': `0 ${idMap.size - 1}` } : networkDefaults;
}

/**
 * The sysctls to set, with Docker's defaults. One that is not namespaced, or whose namespace is the host's, would
 * change the host: refused. `inside`: they are written in a user namespace with this map.
 */
export function sysctlsOf(workload: Workload, inside?: IdMap): Record<string, string> {
  const result: Record<string, string> = workload.netns === undefined ? {} : { ...networkDefaultsOf(inside) };
  for (const [name, value] of Object.entries(workload.sysctls)) {
    checkText(name, value);
    checkNamespace(name, workload);
    result[name] = value;
  }
  return result;
}

function checkText(name: string, value: string): void {
  if (!/^[a-z][\w.@/-]{0,254}$/i.test(name) || name.split(/[./]/).includes(''))
    throw invalid(`invalid sysctl name "${name}"`);
  if (/[\0\n]/.test(value)) throw invalid(`sysctl ${name}: the value must be a single line`);
}

function checkNamespace(name: string, workload: Workload): void {
  if (name.startsWith('net.')) {
    if (workload.netns === undefined) throw invalid(`sysctl "${name}" not allowed in host network namespace`);
  } else if (ipcSysctls.has(name) || name.startsWith('fs.mqueue.')) {
    if (workload.ipc === 'host') throw invalid(`sysctl "${name}" not allowed in host ipc namespace`);
  } else throw invalid(`sysctl "${name}" is not in a separate kernel namespace: it would change the host`);
}

function invalid(message: string) {
  return isleError('invalidParameter', { message });
}
