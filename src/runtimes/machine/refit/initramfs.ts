import { readFile } from 'node:fs/promises';
import { packCpio } from '../../microvm/guest-image/cpio.ts';
import { selectModules } from '../../microvm/guest-image/modules.ts';
import { refitScript } from './script.ts';

/** Statically linked: scripts/packages. */
const busybox = '/bin/busybox';

/** What the helper's kernel may need beside what it has built in; the guest's file systems. */
const wanted = [
  ...['virtio_pci', 'virtio_blk', 'ext4', 'xfs', 'btrfs', 'vfat'],
  ...['nls_cp437', 'nls_ascii', 'nls_iso8859_1', 'nls_utf8'],
];

/** An initramfs of busybox and the script. `modules`: the kernel's, absent when it needs none. */
export async function helperInitramfs(modules: string | undefined, nics: string[]): Promise<Buffer> {
  const found =
    modules === undefined
      ? []
      : await selectModules(modules, [{ class: 'refit', modules: wanted, optional: true }]);
  const directories = ['bin', 'dev', 'proc', 'sys', 'tmp', 'root', 'modules', 'refit'];
  return packCpio([
    ...directories.map((path) => ({ path, mode: 0o040755 })),
    { path: 'dev/console', mode: 0o020600, device: { major: 5, minor: 1 } },
    { path: 'bin/busybox', mode: 0o100755, data: await readFile(busybox) },
    { path: 'bin/sh', mode: 0o120777, data: Buffer.from('busybox') },
    { path: 'init', mode: 0o100755, data: Buffer.from(refitScript) },
    { path: 'refit/nics', mode: 0o100644, data: Buffer.from(nics.map((nic) => `${nic}\n`).join('')) },
    {
      path: 'modules/list',
      mode: 0o100644,
      data: Buffer.from(found.map(({ file }) => `${file}\n`).join('')),
    },
    ...found.map(({ file, data }) => ({ path: `modules/${file}`, mode: 0o100644, data })),
  ]);
}
