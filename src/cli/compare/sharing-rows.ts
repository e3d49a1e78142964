import type { Sharing } from './report.ts';

interface SharingRow {
  title: string;
  /** `exposed`: what an attacker would like. */
  of(sharing: Sharing): { text: string; exposed?: boolean };
}

/** What of the host a workload can reach, as rows of the table. */
export const sharingRows: readonly SharingRow[] = [
  {
    title: 'kernel',
    of: ({ sharesKernel, kernel }) => ({
      text: sharesKernel ? "the host's" : `its own (${kernel})`,
      exposed: sharesKernel,
    }),
  },
  {
    title: 'root inside is',
    of: ({ rootIs, sharesKernel, hostUsers }) => {
      if (!sharesKernel)
        return { text: `its own; user ${hostUsers[0] ?? '?'} outside`, exposed: hostUsers.includes(0) };
      if (rootIs === undefined) return { text: 'nobody' };
      return rootIs === 0 ? { text: 'root on the host', exposed: true } : { text: `user ${rootIs}` };
    },
  },
  {
    title: 'capabilities',
    of: ({ capabilities, sharesKernel, rootIs }) => ({
      text: `${capabilities.length}${sharesKernel && rootIs === 0 ? '' : ', inside only'}`,
      exposed: sharesKernel && rootIs === 0 && capabilities.length > 0,
    }),
  },
  {
    title: "the host's namespaces",
    of: ({ sharedNamespaces }) => ({ text: sharedNamespaces.join(', ') || 'none' }),
  },
  {
    title: 'system calls let in',
    of: ({ reachableCalls, triedCalls, sharesKernel }) => ({
      text: `${reachableCalls.length} of ${triedCalls}${sharesKernel ? '' : ', to its own'}`,
    }),
  },
  {
    title: 'seccomp filter',
    of: ({ seccomp, sharesKernel }) => ({
      text: seccomp === 'filter' ? 'yes' : seccomp,
      exposed: sharesKernel && seccomp === 'none',
    }),
  },
  { title: 'security module', of: ({ securityModule }) => ({ text: securityModule || 'none' }) },
  {
    title: 'devices',
    of: ({ devices, sharesKernel }) => ({ text: `${devices.length}${sharesKernel ? '' : ", a guest's"}` }),
  },
];
