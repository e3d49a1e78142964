import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { createRefit } from '../../src/runtimes/machine/refit/refit.ts';
import { oldLinux, readLinuxFile, writeLinuxDisk } from '../fixtures/appliances/linux-disk.ts';

const directory = mkdtempSync(join(tmpdir(), 'isle-refit-'));
after(() => rmSync(directory, { recursive: true, force: true }));
const refit = createRefit(() => join(import.meta.dirname, '../../.cache/guest'));
const size = 64 << 20;

function disk(files: Record<string, string>): string {
  const path = join(mkdtempSync(join(directory, 'd-')), 'disk.qcow2');
  writeLinuxDisk(path, files);
  return path;
}

test('a Linux that knew its disks and cards by their places knows them by what stays', async () => {
  const path = disk(oldLinux);
  const steps: string[] = [];
  const scratch = mkdtempSync(join(directory, 's-'));
  const report = await refit({
    disks: [{ path, size }],
    nics: ['00:0c:29:aa:bb:cc'],
    directory: scratch,
    onStep: (step) => steps.push(step),
  });
  assert.deepEqual(report, {
    done: true,
    changed: [
      '/etc/fstab',
      '/boot/grub/grub.cfg',
      '/etc/default/grub',
      '/boot/grub/device.map',
      '/etc/systemd/network/10-isle-ens33.link',
    ],
  });
  assert.ok(steps.length > 1);
  assert.match(
    readLinuxFile(path, '/etc/fstab')!,
    /^# <file system>\nUUID=[0-9a-f-]{36} \/ ext4 errors=remount-ro 0 1\n\/dev\/sdb1 \/data ext4 nofail 0 2\n$/,
  );
  assert.match(readLinuxFile(path, '/boot/grub/grub.cfg')!, /root=UUID=[0-9a-f-]{36} ro/);
  assert.equal(readLinuxFile(path, '/boot/grub/device.map'), '(hd0) /dev/vda\n');
  assert.match(
    readLinuxFile(path, '/etc/systemd/network/10-isle-ens33.link')!,
    /MACAddress=00:0c:29:aa:bb:cc\n\n\[Link\]\nName=ens33\n/,
  );
  assert.equal(readLinuxFile(path, '/etc/fstab.before-virtio'), oldLinux['etc/fstab']);
  assert.deepEqual(readdirSync(scratch), []);
});

test('what cannot be changed is said: no Linux, no kernel, no drivers, no initramfs that could be made', async () => {
  const without = (name: string): Record<string, string> => {
    const { [name]: _, ...rest } = oldLinux;
    return rest;
  };
  const module = 'lib/modules/6.1.0-9-amd64/modules.builtin';
  const cases: [RegExp, Record<string, string>][] = [
    [/no root file system of a Linux/, { 'windows/win.ini': '' }],
    [/no kernel with modules/, without('boot/vmlinuz-6.1.0-9-amd64')],
    [/kernel 6\.1\.0-9-amd64 has no drivers for virtio/, { ...oldLinux, [module]: '' }],
    [
      /initramfs of its kernel 6\.1\.0-9-amd64 has no drivers/,
      { ...oldLinux, [module]: '', 'lib/modules/6.1.0-9-amd64/kernel/virtio_blk.ko': '' },
    ],
    [
      /its \/usr is on UUID=0, which was not found/,
      { ...oldLinux, 'etc/fstab': 'UUID=0 /usr ext4 ro 0 0\n' },
    ],
  ];
  for (const [why, files] of cases) {
    const report = await refit({
      disks: [{ path: disk(files), size }],
      nics: [],
      directory: mkdtempSync(join(directory, 's-')),
    });
    assert.equal(report.done, false);
    assert.match(report.why ?? '', why);
  }
});
