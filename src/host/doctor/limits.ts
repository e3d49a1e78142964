import { readFile, writeFile } from 'node:fs/promises';
import { CAP_SYS_RESOURCE, getRlimit, hasCapability } from '../limits.ts';
import type { Finding } from './finding.ts';

const FEW_FILES = 65_536;
const FEW_INSTANCES = 512;
const FEW_WATCHES = 65_536;

export async function checkRlimits(): Promise<Finding> {
  const files = getRlimit('nofile').hard;
  const raise = hasCapability(CAP_SYS_RESOURCE);
  const finding = {
    name: 'rlimits',
    found: `${files} open files, CAP_SYS_RESOURCE ${raise ? 'held' : 'missing'}`,
    why: 'a container’s --ulimit may go up to the engine’s own hard limit, and above it only with CAP_SYS_RESOURCE',
  };
  if (raise || files >= FEW_FILES) return { ...finding, status: 'ok' };
  return {
    ...finding,
    status: 'warn',
    advice:
      'higher limits will be refused: start the engine with LimitNOFILE=1048576 (systemd) or with CAP_SYS_RESOURCE',
  };
}

export async function checkInotify(): Promise<Finding> {
  const [instances, watches] = await Promise.all([
    readNumber('/proc/sys/fs/inotify/max_user_instances'),
    readNumber('/proc/sys/fs/inotify/max_user_watches'),
  ]);
  const finding = {
    name: 'inotify',
    found: `${instances} instances, ${watches} watches a user`,
    why: 'all containers of one user share them; when they are used up, programs fail to watch files',
  };
  if (instances >= FEW_INSTANCES && watches >= FEW_WATCHES) return { ...finding, status: 'ok' };
  const does = 'sysctl -w fs.inotify.max_user_instances=8192 fs.inotify.max_user_watches=1048576';
  return {
    ...finding,
    status: 'warn',
    advice: `${does} (and in /etc/sysctl.d/ to keep it)`,
    fix: {
      does,
      async run() {
        await writeFile('/proc/sys/fs/inotify/max_user_instances', String(Math.max(instances, 8192)));
        await writeFile('/proc/sys/fs/inotify/max_user_watches', String(Math.max(watches, 1_048_576)));
      },
    },
  };
}

async function readNumber(path: string): Promise<number> {
  return Number(await readFile(path, 'utf8'));
}
