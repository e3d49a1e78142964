import type { GuestLink } from '../../host/guest-link.ts';

export type { GuestLink };

/** What the guest's init is told to run: {@link ./protocol.ts} `run`. Everything is looked up already; names are numbers. */
export interface GuestSpec {
  /** Tag of the virtiofs share, and the directory in it that is the workload's root ('' for the share itself). */
  share: { tag: string; directory: string };
  readonlyRoot: boolean;
  hostname: string;
  domainname: string;
  links: GuestLink[];
  /** Mounted over the root in this order; binds and volumes are in the share already. */
  mounts: GuestMount[];
  /**
   * Targets of binds and volumes that stay writable when the root is read-only: the guest sees them as parts of the share,
   * and its root's read-only flag would hold for them too. Absolute, inside the root.
   */
  submounts?: string[];
  maskedPaths: string[];
  readonlyPaths: string[];
  sysctls: Record<string, string>;
  /** Processes and threads that the workload may have at once. */
  pidsLimit?: number;
  /** Run the process under an init that reaps and forwards signals. */
  init: boolean;
  process: GuestProcess;
  /** nanoseconds since 1970 */
  time: bigint;
  /** hexadecimal */
  seed: string;
}

export interface GuestProcess {
  args: string[];
  env: string[];
  cwd: string;
  uid: number;
  gid: number;
  groups: number[];
  tty: boolean;
  stdin: boolean;
  size?: { columns: number; rows: number };
  /**
   * Capability numbers of the bounding set, and for root of the permitted and effective sets. Inheritable and ambient are
   * always empty (CVE-2022-27649): another user has them in its bounding set only, as with containers.
   */
  capabilities: number[];
  noNewPrivileges: boolean;
  rlimits: { resource: number; soft: bigint; hard: bigint }[];
  oomScoreAdj?: number;
}

export interface GuestMount {
  type: 'tmpfs' | 'proc' | 'sysfs' | 'devpts' | 'mqueue' | 'cgroup2' | 'dev';
  /** Absolute, inside the root; made when missing; resolved inside the root whatever links the image has. */
  target: string;
  /** As of mount(8): `nosuid`, `noexec`, `ro`, `size=65536k`, `mode=1777`. */
  options: string[];
}
