import { posix } from 'node:path';
import type { Workload, WorkloadMount } from '../../engine/runtime.ts';
import { isleError } from '../../lib/errors.ts';
import type { GuestMount } from './guest-spec.ts';

/** The file systems that the guest mounts over its root: those every container has, then the asked-for tmpfs. */
export function guestMounts(workload: Workload): GuestMount[] {
  const asked = workload.mounts.filter(({ type }) => type === 'tmpfs').map(tmpfs);
  const taken = new Set(asked.map(({ target }) => target));
  return [
    ...defaults(workload).filter(({ target }) => !taken.has(target)),
    ...asked.toSorted((a, b) => a.target.split('/').length - b.target.split('/').length),
  ];
}

function defaults({ privileged, ipc, shmSize }: Workload): GuestMount[] {
  const locked = ['nosuid', 'noexec', 'nodev'];
  const access = privileged ? 'rw' : 'ro';
  const mounts: GuestMount[] = [
    { type: 'proc', target: '/proc', options: locked },
    { type: 'dev', target: '/dev', options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'] },
    {
      type: 'devpts',
      target: '/dev/pts',
      options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
    },
    { type: 'sysfs', target: '/sys', options: [...locked, access] },
    { type: 'cgroup2', target: '/sys/fs/cgroup', options: [...locked, 'relatime', access] },
    { type: 'mqueue', target: '/dev/mqueue', options: locked },
  ];
  if (ipc !== 'none')
    mounts.push({ type: 'tmpfs', target: '/dev/shm', options: [...locked, 'mode=1777', `size=${shmSize}`] });
  return mounts;
}

function tmpfs({ target, options = [], readOnly }: WorkloadMount): GuestMount {
  const path = posix.normalize(target).replace(/(.)\/+$/, '$1');
  if (!path.startsWith('/') || path === '/')
    throw invalid(`invalid mount target "${target}": it must be an absolute path below /`);
  for (const option of options)
    if (!/^[\w=%.:-]+$/.test(option)) throw invalid(`invalid tmpfs option "${option}" for ${target}`);
  const locked = [
    ['noexec', 'exec'],
    ['nosuid', 'suid'],
    ['nodev', 'dev'],
  ].flatMap(([on = '', off = '']) => (options.includes(off) ? [] : [on]));
  return {
    type: 'tmpfs',
    target: path,
    options: [...new Set([...locked, ...options, ...(readOnly ? ['ro'] : [])])],
  };
}

function invalid(message: string) {
  return isleError('invalidParameter', { message });
}
