import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { after, test } from 'node:test';
import { contentOf, convert, writeTestDisk } from '../../../test/fixtures/appliances/disks.ts';
import { virtualBoxOvf, vmwareOvf, writeOvaFile } from '../../../test/fixtures/appliances/ovf.ts';
import type { ApplianceMachine } from '../appliances.ts';
import { fileAppliances } from './file-appliances.ts';

const directory = mkdtempSync(join(tmpdir(), 'isle-ovf-'));
after(() => rmSync(directory, { recursive: true, force: true }));
const appliances = fileAppliances();
const size = 8 << 20;
const content = writeTestDisk(join(directory, 'disk.raw'), size);
convert(
  join(directory, 'disk.raw'),
  'raw',
  join(directory, 'stream.vmdk'),
  'vmdk',
  'subformat=streamOptimized',
);
const vmdk = readFileSync(join(directory, 'stream.vmdk'));

function scratch(): string {
  const path = mkdtempSync(join(directory, 'scratch-'));
  return path;
}

function ova(members: [string, Buffer][], algorithm?: 'sha1' | 'sha256'): string {
  const path = join(scratch(), 'box.ova');
  writeOvaFile(path, members, algorithm);
  return path;
}

function virtualBox(algorithm?: 'sha1' | 'sha256'): string {
  const descriptor = Buffer.from(virtualBoxOvf({ capacity: size }));
  return ova(
    [
      ['box.ovf', descriptor],
      ['box-disk001.vmdk', vmdk],
    ],
    algorithm,
  );
}

for (const algorithm of ['sha1', 'sha256', undefined] as const) {
  test(`an OVA of VirtualBox is read with its hardware and its disk (manifest: ${algorithm ?? 'none'})`, async () => {
    await using appliance = await appliances.read(virtualBox(algorithm));
    assert.deepEqual(appliance.machine, {
      name: 'box',
      uuid: '2f5ed7a6-8c86-4b2b-bd0a-29cf1a2c9a20',
      description: undefined,
      os: { text: 'Debian12_64', variant: 'debian12' },
      arch: 'x86_64',
      memory: 1536 * 2 ** 20,
      vcpus: 2,
      firmware: 'bios',
      tpm: false,
      nics: [{ macAddress: '08:00:27:1a:2b:3c', model: 'e1000', network: 'NAT' }],
      disks: [
        { name: 'cdrom1', bus: 'ide', cdrom: true },
        { name: 'disk1', bus: 'sata', cdrom: false, size },
      ],
    } satisfies ApplianceMachine);
    const disk = await appliance.disk(1, scratch());
    assert.equal(disk.format, 'vmdk');
    assert.equal(contentOf(disk.path, 'vmdk', directory), content);
  });
}

test('an OVF of VMware is read with UEFI, secure boot, several disks and cards', async () => {
  const place = scratch();
  writeFileSync(join(place, 'srv.ovf'), vmwareOvf({ capacity: size }));
  writeFileSync(join(place, 'srv-disk-0.vmdk'), vmdk);
  await using appliance = await appliances.read(join(place, 'srv.ovf'));
  const { machine } = appliance;
  assert.equal(machine.firmware, 'uefi-secure');
  assert.equal(machine.description, 'mail & more');
  assert.deepEqual(machine.os, { text: 'rhel9_64Guest', variant: 'rhel9-unknown' });
  assert.deepEqual([machine.memory, machine.vcpus], [4 * 2 ** 30, 4]);
  assert.deepEqual(
    machine.disks.map(({ name, bus, controller, size }) => [name, bus, controller, size]),
    [
      ['Hard Disk 1', 'scsi', 'pvscsi', size],
      ['Hard Disk 2', 'scsi', 'pvscsi', 4 << 20],
    ],
  );
  assert.deepEqual(machine.nics, [
    { macAddress: '00:50:56:ab:cd:ef', model: 'vmxnet3', network: 'VM Network' },
    { macAddress: undefined, model: 'e1000e', network: 'VM Network' },
  ]);
  const first = await appliance.disk(0, scratch());
  assert.equal(contentOf(first.path, first.format, directory), content);
  const second = await appliance.disk(1, scratch());
  assert.deepEqual([second.format, statSync(second.path).size], ['raw', 4 << 20]);
});

test('a disk that is packed with gzip is unpacked', async () => {
  const place = scratch();
  writeFileSync(
    join(place, 'srv.ovf'),
    vmwareOvf({ capacity: size, disk: 'srv-disk-0.vmdk.gz', gzip: true }),
  );
  writeFileSync(join(place, 'srv-disk-0.vmdk.gz'), gzipSync(vmdk));
  await using appliance = await appliances.read(join(place, 'srv.ovf'));
  const disk = await appliance.disk(0, scratch());
  assert.equal(contentOf(disk.path, disk.format, directory), content);
});

test('what was tampered with is refused: descriptor, disk, and what the manifest leaves out', async () => {
  const descriptor = Buffer.from(virtualBoxOvf({ capacity: size }));
  const bytes = readFileSync(virtualBox('sha256'));
  const changed = (needle: string): string => {
    const copy = Buffer.from(bytes);
    const at = copy.indexOf(needle);
    copy[at] = copy[at]! ^ 1;
    const path = join(scratch(), 'box.ova');
    writeFileSync(path, copy);
    return path;
  };
  await assert.rejects(appliances.read(changed('MegaBytes')), /box\.ovf: its SHA256 is .* tampered/);
  await using damaged = await appliances.read(changed('KDMV'));
  await assert.rejects(damaged.disk(1, scratch()), /box-disk001\.vmdk: its SHA256 is .* tampered/);
  const path = join(scratch(), 'box.ova');
  writeOvaFile(path, [
    ['box.ovf', descriptor],
    ['box-disk001.vmdk', vmdk],
    ['box.mf', Buffer.from('')],
  ]);
  await assert.rejects(appliances.read(path), /manifest has no checksum/);
});

test('an OVA that is cut short is refused, wherever', async () => {
  const whole = readFileSync(virtualBox());
  const path = join(scratch(), 'cut.ova');
  for (const length of [100, 600, 3000, 20_000, whole.length - 40_000]) {
    writeFileSync(path, whole.subarray(0, length));
    await assert.rejects(appliances.read(path), /cut short|cut\.ova/);
  }
});

test('two members of one name, a link and a name that leads out are refused', async () => {
  const descriptor = Buffer.from(virtualBoxOvf({ capacity: size }));
  await assert.rejects(
    appliances.read(
      ova([
        ['box.ovf', descriptor],
        ['a.vmdk', vmdk],
        ['a.vmdk', Buffer.from('x')],
      ]),
    ),
    /two members of the name a\.vmdk/,
  );
  await assert.rejects(
    appliances.read(
      ova([
        ['box.ovf', descriptor],
        ['../a.vmdk', vmdk],
      ]),
    ),
    /outside of the directory/,
  );
});

test('what is written is read back the same, disks included', async () => {
  const machine: ApplianceMachine = {
    name: 'my machine <1>',
    description: 'a & b\n"c"',
    os: { text: 'debian12', variant: 'debian12' },
    arch: 'x86_64',
    memory: 768 * 2 ** 20,
    vcpus: 3,
    firmware: 'uefi-secure',
    tpm: false,
    disks: [
      { name: 'vda', bus: 'virtio', cdrom: false },
      { name: 'sdb', bus: 'scsi', controller: 'pvscsi', cdrom: false },
      { name: 'cd', bus: 'ide', cdrom: true },
    ],
    nics: [{ macAddress: '52:54:00:01:02:03', model: 'vmxnet3', network: 'lan' }, { model: 'virtio' }],
  };
  const target = join(scratch(), 'out.ova');
  const file = { path: join(directory, 'stream.vmdk'), format: 'vmdk' as const };
  const seen: number[] = [];
  await appliances.write(target, machine, [file, file], {
    onProgress: (done, total) => seen.push(done / total),
  });
  assert.equal(seen.at(-1), 1);
  const names = execFileSync('tar', ['tf', target], { encoding: 'utf8' }).trim().split('\n');
  assert.deepEqual(names, [
    'my-machine-1-.ovf',
    'my-machine-1-.mf',
    'my-machine-1--disk1.vmdk',
    'my-machine-1--disk2.vmdk',
  ]);
  await using appliance = await appliances.read(target);
  assert.deepEqual(
    { ...appliance.machine, os: appliance.machine.os?.variant },
    {
      ...machine,
      uuid: undefined,
      os: 'debian12',
      disks: [
        { name: 'Hard disk 1', bus: 'sata', cdrom: false, size },
        { name: 'Hard disk 2', bus: 'scsi', controller: 'pvscsi', cdrom: false, size },
        { name: 'CD/DVD drive', bus: 'ide', cdrom: true },
      ],
      nics: [
        { macAddress: '52:54:00:01:02:03', model: 'vmxnet3', network: 'lan' },
        { macAddress: undefined, model: 'e1000', network: 'NAT' },
      ],
    },
  );
  for (const index of [0, 1]) {
    const disk = await appliance.disk(index, scratch());
    assert.equal(contentOf(disk.path, 'vmdk', directory), content);
  }
});

test('nothing is left of an OVA whose disk cannot be read', async () => {
  const place = scratch();
  mkdirSync(join(place, 'out'));
  const machine = {
    name: 'm',
    arch: 'x86_64',
    memory: 2 ** 30,
    vcpus: 1,
    firmware: 'bios',
    tpm: false,
    disks: [],
    nics: [],
  } as const;
  const gone = new AbortController();
  const write = appliances.write(
    join(place, 'out/m.ova'),
    { ...machine, disks: [], nics: [] },
    [{ path: join(directory, 'stream.vmdk'), format: 'vmdk' }],
    {
      signal: gone.signal,
      onProgress: () => gone.abort(new Error('enough')),
    },
  );
  await assert.rejects(write, /enough/);
  assert.deepEqual(execFileSync('ls', ['-A', join(place, 'out')], { encoding: 'utf8' }), '');
});
