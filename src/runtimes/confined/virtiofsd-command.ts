import { basename } from 'node:path';

/** Descriptor of the listening socket that the shim gives virtiofsd (native/shim/main.c, native/vmm/generation.c). */
const socket = 3;

/**
 * virtiofsd's command line, for the C program that came with QEMU before 8.0 and the one in Rust after it.
 *
 * It changes its root to `source`. Mounts below it are told to the guest: two files there may have one inode number. The
 * guest caches what it has read for a second only (`auto`): the host may write to a volume, too.
 */
export function virtiofsdCommand(virtiofsd: string, source: string): string[] {
  if (isC(virtiofsd))
    return [
      virtiofsd,
      ...[`--fd=${socket}`, '-f', '--rlimit-nofile=0', '--thread-pool-size=0'],
      ...['-o', `source=${source},sandbox=chroot,announce_submounts,xattr,cache=auto,log_level=warn`],
    ];
  return [
    virtiofsd,
    ...[`--fd=${socket}`, '--rlimit-nofile=0', '--thread-pool-size=0'],
    ...[`--shared-dir=${source}`, '--sandbox=chroot', '--announce-submounts', '--xattr', '--cache=auto'],
    ...['--log-level=warn', '--inode-file-handles=never'],
  ];
}

/** QEMU's own lies in its library directory, the Rust one in libexec. */
function isC(virtiofsd: string): boolean {
  return virtiofsd.includes('/qemu/') && basename(virtiofsd) === 'virtiofsd';
}
