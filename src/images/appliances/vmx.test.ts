import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { contentOf, convert, sha256, writeTestDisk } from '../../../test/fixtures/appliances/disks.ts';
import { vmxFile } from '../../../test/fixtures/appliances/vmx.ts';
import { fileAppliances } from './file-appliances.ts';

const directory = mkdtempSync(join(tmpdir(), 'isle-vmx-'));
after(() => rmSync(directory, { recursive: true, force: true }));
const appliances = fileAppliances();
const size = 8 << 20;
const raw = join(directory, 'disk.raw');
const content = writeTestDisk(raw, size);

/** A machine's directory with its disk in `subformat`. */
function machine(subformat: string, options: Partial<Parameters<typeof vmxFile>[0]> = {}): string {
  const place = mkdtempSync(join(directory, 'vm-'));
  convert(raw, 'raw', join(place, 'disk.vmdk'), 'vmdk', `subformat=${subformat}`);
  writeFileSync(join(place, 'vm.vmx'), vmxFile({ disk: 'disk.vmdk', ...options }));
  return place;
}

function scratch(): string {
  return mkdtempSync(join(directory, 'scratch-'));
}

/** Reads the machine and its first disk. */
async function firstDisk(place: string) {
  await using appliance = await appliances.read(join(place, 'vm.vmx'));
  const disk = await appliance.disk(
    appliance.machine.disks.findIndex((each) => !each.cdrom),
    scratch(),
  );
  return { disk, content: contentOf(disk.path, disk.format, directory) };
}

test('a VMX is read with its hardware', async () => {
  await using appliance = await appliances.read(join(machine('monolithicSparse', { efi: true }), 'vm.vmx'));
  assert.deepEqual(appliance.machine, {
    name: 'old server',
    uuid: '564d1c2a-9e01-6a3b-5f0c-7d21aabbccdd',
    description: 'first"line"\nsecond',
    os: { text: 'debian11-64', variant: 'debian11' },
    arch: 'x86_64',
    memory: 2 ** 31,
    vcpus: 2,
    firmware: 'uefi-secure',
    tpm: false,
    disks: [
      { name: 'scsi0:0', bus: 'scsi', controller: 'lsilogic', cdrom: false },
      { name: 'ide1:0', bus: 'ide', cdrom: true },
    ],
    nics: [
      { macAddress: '00:0c:29:cc:bb:aa', model: 'vmxnet3', network: 'VM Network' },
      { macAddress: '00:50:56:00:11:22', model: 'pcnet', network: undefined },
    ],
  });
  assert.match(appliance.warnings.join(), /CD in ide1:0/);
});

for (const [subformat, format] of [
  ['monolithicSparse', 'vmdk'],
  ['streamOptimized', 'vmdk'],
  ['monolithicFlat', 'raw'],
  ['twoGbMaxExtentSparse', 'raw'],
  ['twoGbMaxExtentFlat', 'raw'],
] as const) {
  test(`a VMDK of kind ${subformat} is read whole`, async () => {
    const { disk, content: seen } = await firstDisk(machine(subformat));
    assert.equal(disk.format, format);
    assert.equal(seen, content);
  });
}

test('the last of a chain of snapshots is read with its parents, whatever directory they came from', async () => {
  for (const subformat of ['monolithicSparse', 'twoGbMaxExtentFlat']) {
    const place = machine(subformat, { disk: 'snap2.vmdk' });
    const change = (file: string, ...writes: [number, number, number][]): void => {
      const commands = writes.flatMap(([pattern, at, length]) => [
        '-c',
        `write -P ${pattern} ${at} ${length}`,
      ]);
      execFileSync('qemu-io', ['-f', 'vmdk', ...commands, join(place, file)]);
    };
    const snapshot = (base: string, name: string): void => {
      execFileSync('qemu-img', ['create', '-q', '-f', 'vmdk', '-b', base, '-F', 'vmdk', join(place, name)]);
    };
    snapshot('disk.vmdk', 'snap1.vmdk');
    change('snap1.vmdk', [0xaa, 65536, 65536], [0, 1 << 20, 65536]);
    snapshot('snap1.vmdk', 'snap2.vmdk');
    change('snap2.vmdk', [0xbb, 3 << 20, 131072]);
    convert(join(place, 'snap2.vmdk'), 'vmdk', join(place, 'expected.raw'), 'raw');
    const { content: seen } = await firstDisk(place);
    assert.equal(seen, sha256(join(place, 'expected.raw')));
  }
});

test('a snapshot whose parent is missing, or was changed since, is refused', async () => {
  const place = machine('monolithicSparse', { disk: 'snap.vmdk' });
  execFileSync('qemu-img', [
    'create',
    '-q',
    '-f',
    'vmdk',
    '-b',
    'disk.vmdk',
    '-F',
    'vmdk',
    join(place, 'snap.vmdk'),
  ]);
  const base = readFileSync(join(place, 'disk.vmdk'));
  const at = base.indexOf('\nCID=') + 5;
  base.write(base[at] === 0x31 ? '2' : '1', at, 'latin1');
  writeFileSync(join(place, 'disk.vmdk'), base);
  await assert.rejects(firstDisk(place), /disk\.vmdk: it was changed since the snapshot/);
  rmSync(join(place, 'disk.vmdk'));
  await assert.rejects(firstDisk(place), /snap\.vmdk: .*"disk\.vmdk", which is not in its directory/);
});

test('a disk that is cut short is refused', async () => {
  for (const [subformat, file, length] of [
    ['monolithicFlat', 'disk-flat.vmdk', size - 512],
    ['monolithicSparse', 'disk.vmdk', 600_000],
    ['monolithicSparse', 'disk.vmdk', 300],
    ['twoGbMaxExtentSparse', 'disk-s001.vmdk', 400_000],
  ] as const) {
    const place = machine(subformat);
    truncateSync(join(place, file), length);
    await assert.rejects(firstDisk(place), /cut short/);
  }
});

test('no file of the host gets into a disk', async () => {
  const place = machine('monolithicFlat');
  const secret = join(directory, 'secret');
  writeFileSync(secret, Buffer.alloc(size, 'secret'));
  const descriptor = readFileSync(join(place, 'disk.vmdk'), 'utf8');
  const named = (name: string): void =>
    writeFileSync(join(place, 'disk.vmdk'), descriptor.replace('disk-flat.vmdk', name));
  for (const name of [secret, '../secret', '..\\\\secret', 'x/../../secret']) {
    named(name);
    await assert.rejects(firstDisk(place), /outside of the directory|not in its directory/);
  }
  named('link');
  symlinkSync(secret, join(place, 'link'));
  await assert.rejects(firstDisk(place), /not in its directory/);
  // A disk that is a link itself, from the description.
  writeFileSync(join(place, 'vm.vmx'), vmxFile({ disk: '/etc/passwd' }));
  await assert.rejects(appliances.read(join(place, 'vm.vmx')), /"\/etc\/passwd" of scsi0:0 is missing/);
});

test('bare disks are read by suffix or hint, and those of snapshots are refused', async () => {
  for (const [name, format] of [
    ['d.qcow2', 'qcow2'],
    ['d.vdi', 'vdi'],
    ['d.vhdx', 'vhdx'],
    ['d.vhd', 'vpc'],
    ['d.hdd', 'parallels'],
    ['d.vmdk', 'vmdk'],
    ['d.img', 'raw'],
  ] as const) {
    const path = join(scratch(), name);
    convert(raw, 'raw', path, format, format === 'vpc' ? 'force_size=on' : undefined);
    await using appliance = await appliances.read(path);
    const disk = await appliance.disk(0, scratch());
    assert.equal(disk.format, format);
    assert.equal(contentOf(disk.path, disk.format, directory, size), content, name);
  }
  const odd = join(scratch(), 'disk.bin');
  convert(raw, 'raw', odd, 'qcow2');
  await assert.rejects(appliances.read(odd), /--format/);
  await using hinted = await appliances.read(odd, { hint: 'qcow2' });
  assert.equal((await hinted.disk(0, scratch())).format, 'qcow2');
  await using wrong = await appliances.read(odd, { hint: 'vdi' });
  await assert.rejects(wrong.disk(0, scratch()), /no VDI/);
  const overlay = join(scratch(), 'o.qcow2');
  execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', odd, '-F', 'qcow2', overlay]);
  await using standing = await appliances.read(overlay);
  await assert.rejects(standing.disk(0, scratch()), /backing file/);
});
