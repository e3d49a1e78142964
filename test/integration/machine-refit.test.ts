import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileAppliances } from '../../src/images/appliances/file-appliances.ts';
import { silentLog } from '../../src/lib/log.ts';
import { createRefit } from '../../src/runtimes/machine/refit/refit.ts';
import { createDisks } from '../../src/storage/disks/service.ts';
import { convert } from '../fixtures/appliances/disks.ts';
import { vmxFile } from '../fixtures/appliances/vmx.ts';
import { fakeEngine, withMachines } from '../fixtures/fake-engine.ts';
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

test('an imported Linux gets virtio when it was changed for it, and else keeps what it knew, its disk as it came', async () => {
  const dataRoot = mkdtempSync(join(tmpdir(), 'isle-refit-root-'));
  const disks = createDisks({ dataRoot, log: silentLog() });
  const fake = await fakeEngine(
    { dataRoot, disks, appliances: fileAppliances(), refit },
    undefined,
    withMachines,
  );
  try {
    const signal = new AbortController().signal;
    const import_ = async (files: Record<string, string>) => {
      const place = mkdtempSync(join(directory, 'vm-'));
      writeLinuxDisk(join(place, 'disk.qcow2'), files);
      convert(join(place, 'disk.qcow2'), 'qcow2', join(place, 'disk.vmdk'), 'vmdk');
      writeFileSync(join(place, 'vm.vmx'), vmxFile({ disk: 'disk.vmdk' }));
      const made = await fake.engine.machines.appliances.import(join(place, 'vm.vmx'), {
        virtio: true,
        signal,
      });
      const { machine } = fake.engine.machines.get(made.id).spec;
      const { path } = disks.files(machine.disks[0]!.diskId!);
      return { machine, path, warnings: made.warnings.join('\n') };
    };
    const changed = await import_(oldLinux);
    assert.match(changed.warnings, /boots on virtio now; changed in its guest: \/etc\/fstab/);
    const { machine } = changed;
    assert.deepEqual(
      [
        machine.disks[0]!.target,
        machine.disks[0]!.bus,
        machine.disks[0]!.controller,
        machine.nicModels,
        machine.boot,
      ],
      ['vda', 'virtio', undefined, ['virtio'], ['vda', 'sdb']],
    );
    assert.deepEqual(disks.get(machine.disks[0]!.diskId!).snapshots, []);
    assert.match(readLinuxFile(changed.path, '/etc/fstab')!, /UUID=/);
    const kept = await import_({
      ...oldLinux,
      'lib/modules/6.1.0-9-amd64/modules.builtin': '',
      'lib/modules/6.1.0-9-amd64/kernel/virtio_blk.ko': '',
    });
    assert.match(kept.warnings, /keeps the hardware that it knew: the initramfs/);
    assert.deepEqual([kept.machine.disks[0]!.bus, kept.machine.disks[0]!.controller], ['scsi', 'lsi53c895a']);
    assert.equal(readLinuxFile(kept.path, '/etc/fstab'), oldLinux['etc/fstab']);
    assert.deepEqual(disks.get(kept.machine.disks[0]!.diskId!).snapshots, []);
  } finally {
    await fake.close();
  }
});
