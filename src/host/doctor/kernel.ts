import { readFile } from 'node:fs/promises';
import { release } from 'node:os';
import { runOk } from '../run.ts';
import type { DoctorOptions, Finding } from './finding.ts';
import { compareVersions } from './version.ts';

const OLDEST = '5.15';

export async function checkKernel(): Promise<Finding> {
  return judgeKernel(release());
}

export function judgeKernel(version: string): Finding {
  const finding = {
    name: 'kernel',
    found: `Linux ${version}`,
    why: `Isle uses idmapped mounts, cgroup.kill and openat2, which Linux ${OLDEST} and newer have`,
  };
  if (compareVersions(version, OLDEST) >= 0) return { ...finding, status: 'ok' };
  return {
    ...finding,
    status: 'fail',
    advice: `upgrade to Linux ${OLDEST} or newer (Debian 12, Ubuntu 22.04 or later)`,
  };
}

export async function checkRoot(): Promise<Finding> {
  const uid = process.geteuid?.() ?? -1;
  const why = 'the engine mounts, makes namespaces and control groups, and this check looks at all of them';
  if (uid === 0) return { name: 'root', status: 'ok', found: 'running as root', why };
  return {
    name: 'root',
    status: 'warn',
    found: `running as uid ${uid}`,
    why,
    advice: 'sudo isle doctor',
  };
}

/** Members of the group named after the program may use the engine's socket. */
export async function checkGroup(_options: DoctorOptions): Promise<Finding> {
  const line = (await readFile('/etc/group', 'utf8')).split('\n').find((entry) => entry.startsWith('isle:'));
  const why = 'its members use the engine without being root (which makes them as mighty as root)';
  if (line !== undefined) {
    const members = line.split(':')[3] || 'nobody but root';
    return { name: 'group', status: 'ok', found: `group isle: ${members}`, why };
  }
  return {
    name: 'group',
    status: 'warn',
    found: 'no group isle: only root can use the engine',
    why,
    advice: 'groupadd --system isle, then usermod -aG isle USER for whom you trust',
    fix: {
      does: 'groupadd --system isle',
      run: async () => void (await runOk('groupadd', ['--system', 'isle'])),
    },
  };
}
