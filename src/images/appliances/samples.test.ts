import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { contentOf, writeTestDisk } from '../../../test/fixtures/appliances/disks.ts';
import { samples } from '../../../test/fixtures/appliances/samples.ts';
import { writeVbox } from '../../../test/fixtures/appliances/vbox.ts';
import { writeXva } from '../../../test/fixtures/appliances/xva.ts';
import { fileAppliances } from './file-appliances.ts';
import { xxh64 } from './xxh64.ts';

const directory = mkdtempSync(join(tmpdir(), 'isle-samples-'));
after(() => rmSync(directory, { recursive: true, force: true }));
const appliances = fileAppliances();
const size = 8 << 20;
const raw = join(directory, 'disk.raw');
const content = writeTestDisk(raw, size);

function empty(): string {
  return mkdtempSync(join(directory, 'a-'));
}

async function firstDisk(path: string): Promise<string> {
  await using appliance = await appliances.read(path);
  const index = appliance.machine.disks.findIndex((disk) => !disk.cdrom);
  const disk = await appliance.disk(index, empty());
  return contentOf(disk.path, disk.format, directory, size);
}

for (const [name, sample] of Object.entries(samples))
  test(`${name}: its disk is read whole`, async () => {
    assert.equal(await firstDisk(sample(empty(), raw)), content);
  });

test("their descriptions are read, each in its hypervisor's words", async () => {
  const seen: Record<string, unknown> = {};
  for (const name of [
    'VirtualBox .vbox',
    'Hyper-V 1st generation, VMCX',
    'Hyper-V 2nd generation, VMCX',
    'XVA',
    'xl.cfg',
    'Parallels, split',
    'libvirt',
  ]) {
    await using appliance = await appliances.read(samples[name]!(empty(), raw));
    const { machine } = appliance;
    seen[name] = [
      `${machine.name} ${machine.uuid} ${machine.os?.variant} ${machine.memory / 2 ** 20} ${machine.vcpus} ${machine.firmware} ${machine.tpm}`,
      machine.disks.map((disk) => `${disk.name} ${disk.bus}${disk.cdrom ? ' cd' : ''}`).join(', '),
      machine.nics.map((nic) => `${nic.macAddress} ${nic.model} ${nic.network}`).join(', '),
    ];
  }
  assert.deepEqual(seen, {
    'VirtualBox .vbox': [
      'box two 7a0f0d6b-4f5e-4d39-9c1f-0a4b3c2d1e0f undefined 1024 2 uefi false',
      'SATA 0 sata, SATA 2 sata cd',
      '08:00:27:ab:cd:ef e1000 NAT',
    ],
    'Hyper-V 1st generation, VMCX': [
      'win box 8c9fb0c2-5b8b-4c0e-8e60-0c8c0dd9a9b1 undefined 2048 4 bios false',
      'controller0 drive0 ide, controller1 drive0 ide cd',
      '00:15:5d:01:07:dc undefined Default Switch',
    ],
    'Hyper-V 2nd generation, VMCX': [
      'win box 8c9fb0c2-5b8b-4c0e-8e60-0c8c0dd9a9b1 undefined 2048 4 uefi-secure false',
      'controller0 drive0 sata, controller1 drive0 sata cd',
      '00:15:5d:01:07:dc undefined Default Switch',
    ],
    XVA: [
      'xen web c2a1c1f2-7f3b-0d43-7c0d-2f6c5a1f7c11 debian11 2048 2 bios false',
      'root sata, cd 3 ide cd',
      '4e:1c:aa:bb:cc:02 undefined Pool-wide network',
    ],
    'xl.cfg': [
      'xen-web 1d0b7a34-6a52-4a1a-8f3a-5b0e2b1c9d77 undefined 512 1 bios false',
      'hda ide, hdc ide cd',
      '00:16:3e:11:22:33 e1000 xenbr0',
    ],
    'Parallels, split': [
      'mac box 3f0c8f9a-7a2b-4c55-9a3d-1de2f1b6a001 undefined 1024 2 bios false',
      'harddisk.hdd sata, CdRom sata cd',
      '00:1c:42:aa:bb:cc virtio Shared',
    ],
    libvirt: [
      'deb 9a3f1c9e-4d1a-4cbb-8f0f-1f2d6f0f5e01 debian12 1024 2 bios true',
      'vda virtio, sda sata cd',
      '52:54:00:ab:cd:ef virtio default',
    ],
  });
});

test('a disk of VirtualBox is read through its snapshot', async () => {
  const expected = Buffer.from(readFileSync(raw));
  expected.fill(0xee, 3 << 20, 4 << 20);
  expected.fill(0, 5 << 20, 6 << 20);
  const path = join(directory, 'expected.raw');
  writeFileSync(path, expected);
  const vbox = writeVbox(empty(), raw, { snapshot: { block: 3, fill: 0xee, zero: 5 } });
  assert.equal(await firstDisk(vbox), contentOf(path, 'raw', directory));
});

test('an XVA whose parts are damaged, doubled, missing their checksums or cut off is refused', async () => {
  const cases: [RegExp, NonNullable<Parameters<typeof writeXva>[2]>][] = [
    [
      /part 1 .* has the checksum/,
      {
        change: (all) =>
          all.map(([name, bytes]) => [
            name,
            name.endsWith('/00000001') ? Buffer.alloc(bytes.length, 7) : bytes,
          ]),
      },
    ],
    [
      /part 1 .* has the checksum/,
      {
        checksums: 'xxhash',
        change: (all) =>
          all.map(([name, bytes]) => [
            name,
            name.endsWith('/00000001') ? Buffer.alloc(bytes.length, 7) : bytes,
          ]),
      },
    ],
    [/has no checksum/, { change: (all) => all.filter(([name]) => !name.endsWith('/00000001.checksum')) }],
    [/twice/, { change: (all) => [...all, ...all.slice(1, 3)] }],
    [
      /beyond the end/,
      {
        change: (all) => [
          ...all,
          ['Ref:4/00000099', Buffer.alloc(10)],
          ['Ref:4/00000099.checksum', Buffer.from('x')],
        ],
      },
    ],
    [/is none of a disk/, { change: (all) => [...all, ['Ref:4/../../etc/passwd', Buffer.from('x')]] }],
    [/not ova\.xml/, { change: (all) => all.slice(1) }],
  ];
  for (const [message, options] of cases) {
    const path = join(empty(), 'web.xva');
    writeXva(path, raw, options);
    await assert.rejects(firstDisk(path), message);
  }
  const path = join(empty(), 'web.xva');
  writeXva(path, raw);
  const whole = readFileSync(path);
  writeFileSync(path, whole.subarray(0, whole.length / 2));
  await assert.rejects(firstDisk(path), /web\.xva: the archive ends in the middle/);
});

test('what boots a disk is seen by its partitions, whatever format it has', async () => {
  const gpt = Buffer.from(readFileSync(raw));
  gpt.fill(0, 0, 34 * 512);
  gpt.write('EFI PART', 512, 'latin1');
  gpt.writeUInt32LE(128, 512 + 80);
  gpt.writeUInt32LE(128, 512 + 84);
  Buffer.from('28732ac11ff8d211ba4b00a0c93ec93b', 'hex').copy(gpt, 1024);
  const efi = join(directory, 'efi.raw');
  writeFileSync(efi, gpt);
  Buffer.from('4861682149646f6e744e656564454649', 'hex').copy(gpt, 1024 + 128);
  const both = join(directory, 'both.raw');
  writeFileSync(both, gpt);
  const seen = async (name: string, disk: string): Promise<string> => {
    await using appliance = await appliances.read(samples[name]!(empty(), disk));
    return appliance.machine.firmware;
  };
  for (const name of ['qcow2 alone', 'raw alone', 'VMDK alone', 'VHDX alone', 'VDI alone'])
    assert.equal(await seen(name, efi), 'uefi', name);
  assert.deepEqual([await seen('qcow2 alone', both), await seen('VHDX alone', raw)], ['bios', 'bios']);
  // Settings of a version to come.
  const path = samples['Hyper-V 2nd generation, VMCX']!(empty(), efi);
  const settings = readFileSync(path);
  for (const at of [10, 0x1000 + 10]) settings.writeUInt32LE(0x900, at);
  writeFileSync(path, settings);
  await using appliance = await appliances.read(path);
  assert.deepEqual(
    [appliance.machine.name, appliance.machine.firmware, appliance.machine.disks.length],
    ['win box', 'uefi', 1],
  );
  assert.match(appliance.warnings.join(), /cannot be read/);
});

test('XXH64 is that of its specification', () => {
  assert.equal(xxh64(Buffer.from('')), 'ef46db3751d8e999');
  assert.equal(xxh64(Buffer.from('a')), 'd24ec4f1a98c6e5b');
  assert.equal(xxh64(Buffer.from('abc')), '44bc2cf5ad770999');
  for (const length of [5, 8, 31, 32, 33, 63, 64, 100, 4096, 70_001]) {
    const bytes = Buffer.from(Array.from({ length }, (_, index) => (index * 131 + (index >> 3)) & 0xff));
    assert.equal(xxh64(bytes), slowXxh64(bytes), `${length} bytes`);
  }
});

/** By the letter of the specification. */
function slowXxh64(data: Buffer): string {
  const mask = (1n << 64n) - 1n;
  const [p1, p2, p3, p4, p5] = [
    0x9e3779b185ebca87n,
    0xc2b2ae3d27d4eb4fn,
    0x165667b19e3779f9n,
    0x85ebca77c2b2ae63n,
    0x27d4eb2f165667c5n,
  ];
  const rotate = (x: bigint, by: bigint): bigint => ((x << by) | (x >> (64n - by))) & mask;
  const round = (acc: bigint, input: bigint): bigint => (rotate((acc + input * p2) & mask, 31n) * p1) & mask;
  let h = p5;
  let at = 0;
  if (data.length >= 32) {
    const lanes = [(p1 + p2) & mask, p2, 0n, (0n - p1) & mask];
    for (; at + 32 <= data.length; at += 32)
      for (let lane = 0; lane < 4; lane++)
        lanes[lane] = round(lanes[lane]!, data.readBigUInt64LE(at + lane * 8));
    h = [1n, 7n, 12n, 18n].reduce((sum, by, lane) => (sum + rotate(lanes[lane]!, by)) & mask, 0n);
    for (const lane of lanes) h = ((h ^ round(0n, lane)) * p1 + p4) & mask;
  }
  h = (h + BigInt(data.length)) & mask;
  for (; at + 8 <= data.length; at += 8)
    h = (rotate(h ^ round(0n, data.readBigUInt64LE(at)), 27n) * p1 + p4) & mask;
  if (at + 4 <= data.length) {
    h = (rotate(h ^ ((BigInt(data.readUInt32LE(at)) * p1) & mask), 23n) * p2 + p3) & mask;
    at += 4;
  }
  for (; at < data.length; at++) h = (rotate(h ^ ((BigInt(data[at]!) * p5) & mask), 11n) * p1) & mask;
  h = ((h ^ (h >> 33n)) * p2) & mask;
  h = ((h ^ (h >> 29n)) * p3) & mask;
  return (h ^ (h >> 32n)).toString(16).padStart(16, '0');
}
