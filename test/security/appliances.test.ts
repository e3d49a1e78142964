import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { fileAppliances } from '../../src/images/appliances/file-appliances.ts';
import { parseManifest } from '../../src/images/appliances/manifest.ts';
import { parseVmcx } from '../../src/images/appliances/vmcx.ts';
import { parseVmdkDescriptor } from '../../src/images/appliances/vmdk-descriptor.ts';
import { parseVmx } from '../../src/images/appliances/vmx.ts';
import { parseXlDisk } from '../../src/images/appliances/xl.ts';
import { parseXl } from '../../src/images/appliances/xl-syntax.ts';
import { readXml } from '../../src/images/appliances/xml.ts';
import { isIsleError } from '../../src/lib/errors.ts';
import { writeTestDisk } from '../fixtures/appliances/disks.ts';
import { virtualBoxOvf, vmwareOvf } from '../fixtures/appliances/ovf.ts';
import { samples } from '../fixtures/appliances/samples.ts';
import { vmxFile } from '../fixtures/appliances/vmx.ts';
import { tarEntry, writeTar } from '../fixtures/tar-writer.ts';

const directory = mkdtempSync(join(tmpdir(), 'isle-hostile-appliances-'));
after(() => rmSync(directory, { recursive: true, force: true }));
const appliances = fileAppliances();
const size = 4 << 20;
const raw = join(directory, 'disk.raw');
writeTestDisk(raw, size);
const secret = join(directory, 'secret');
writeFileSync(secret, Buffer.alloc(size, 'the secret of the host'));

function empty(): string {
  return mkdtempSync(join(directory, 'a-'));
}

/** Reads a machine and every disk of it. Returns the places of its disks. */
async function readWhole(path: string): Promise<string[]> {
  await using appliance = await appliances.read(path);
  const paths: string[] = [];
  for (const [index, disk] of appliance.machine.disks.entries()) {
    if (disk.cdrom) continue;
    const { path: taken } = await appliance.disk(index, empty());
    assert.ok(!readFileSync(taken).includes('the secret of the host'), 'the secret is in a disk');
    paths.push(taken);
  }
  return paths;
}

/** Refused, in words for people: no system error, no stack. */
async function refused(path: string, why: RegExp): Promise<void> {
  await assert.rejects(readWhole(path), (error: unknown) => {
    assert.ok(isIsleError(error, 'invalidAppliance', 'diskFull'), `not refused but failed: ${String(error)}`);
    assert.match(error.message, why);
    // oxlint-disable-next-line no-control-regex
    assert.doesNotMatch(error.message, /[\0-\x1f\x7f-\x9f]/);
    assert.ok(error.message.length < 2000);
    return true;
  });
}

test('no description brings a file of the host in, by path, link or URL', async () => {
  const stream = join(directory, 'stream.vmdk');
  execFileSync('qemu-img', [
    'convert',
    '-f',
    'raw',
    '-O',
    'vmdk',
    '-o',
    'subformat=streamOptimized',
    raw,
    stream,
  ]);
  for (const href of [
    secret,
    `../${'secret'}`,
    '..%2Fsecret',
    'file:///etc/shadow',
    'http://example.com/disk.vmdk',
    'a/../../secret',
    'C:\\secret',
  ]) {
    const place = empty();
    writeFileSync(join(place, 'box.ovf'), virtualBoxOvf({ capacity: size, disk: href }));
    await refused(join(place, 'box.ovf'), /outside of the directory|not fetched|is missing/);
  }
  const linked = empty();
  mkdirSync(join(linked, 'sub'));
  symlinkSync(secret, join(linked, 'box-disk001.vmdk'));
  writeFileSync(join(linked, 'box.ovf'), virtualBoxOvf({ capacity: size }));
  await refused(join(linked, 'box.ovf'), /is missing/);
  symlinkSync('..', join(linked, 'sub/up'));
  writeFileSync(join(linked, 'vm.vmx'), vmxFile({ disk: 'sub/up/../secret' }));
  await refused(join(linked, 'vm.vmx'), /missing/);
  for (const [name, text] of Object.entries({
    'web.cfg': `memory = 64\ndisk = [ 'file:${secret},hda,w', 'format=raw, vdev=xvda, target=../secret' ]\n`,
    'web.xml': `<domain><name>x</name><memory>65536</memory><devices><disk type='file' device='disk'><driver type='raw'/><source file='${secret}'/><target dev='vda'/></disk></devices></domain>`,
  })) {
    const place = empty();
    writeFileSync(join(place, name), text);
    await refused(join(place, name), /not beside it|outside of the directory/);
  }
  const pvm = join(empty(), 'mac.pvm');
  samples['Parallels, plain']!(join(pvm, '..'), raw);
  const descriptor = join(pvm, 'harddisk.hdd/DiskDescriptor.xml');
  writeFileSync(
    descriptor,
    readFileSync(descriptor, 'utf8').replace(/<File>.*<\/File>/, `<File>../../../secret</File>`),
  );
  await refused(pvm, /outside of the directory|missing/);
});

test('devices, pipes and directories in the place of disks are not opened', async () => {
  for (const make of [
    (path: string) => execFileSync('mkfifo', [path]),
    (path: string) => execFileSync('mknod', [path, 'c', '1', '5']),
    (path: string) => mkdirSync(path),
  ]) {
    const place = empty();
    make(join(place, 'disk.vmdk'));
    writeFileSync(join(place, 'vm.vmx'), vmxFile({ disk: 'disk.vmdk' }));
    await refused(join(place, 'vm.vmx'), /no plain file/);
  }
});

test('XML that would grow, fetch, or nest without end is refused at once', async () => {
  const bombs = {
    laughs: `<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]><Envelope>&b;</Envelope>`,
    fetch: `<!DOCTYPE Envelope SYSTEM "file:///etc/shadow"><Envelope/>`,
    entity: `<!DOCTYPE Envelope [<!ENTITY s SYSTEM "file://${secret}">]><Envelope>&s;</Envelope>`,
    undefined: '<Envelope>&s;</Envelope>',
    deep: `<Envelope>${'<a>'.repeat(200_000)}${'</a>'.repeat(200_000)}</Envelope>`,
    other: '<html><Envelope/></html>',
    none: '',
    binary: '\0\0\0\0',
    many: `<Envelope>${'<a/>'.repeat(200_000)}</Envelope>`,
    wide: `<Envelope ${Array.from({ length: 150_000 }, (_, index) => `a${index}=""`).join(' ')}/>`,
  };
  for (const [name, text] of Object.entries(bombs)) {
    const place = empty();
    writeFileSync(join(place, 'box.ovf'), text);
    await refused(join(place, 'box.ovf'), /document type|well-formed|nested|is a <html>|more elements/);
    assert.ok(name);
  }
  const large = join(empty(), 'large.ovf');
  writeFileSync(large, Buffer.alloc(3 << 20, ' '));
  await refused(large, /a description has at most/);
});

test('numbers that no machine has are refused', async () => {
  const good = vmwareOvf({ capacity: size });
  const changes: [string | RegExp, string, RegExp][] = [
    ['<rasd:VirtualQuantity>4096<', '<rasd:VirtualQuantity>99999999999999<', /memory/],
    ['<rasd:VirtualQuantity>4096<', '<rasd:VirtualQuantity>-1<', /memory/],
    ['<rasd:VirtualQuantity>4096<', '<rasd:VirtualQuantity>1e9<', /memory/],
    ['<rasd:VirtualQuantity>4<', '<rasd:VirtualQuantity>100000<', /CPUs/],
    ['byte * 2^20</rasd', 'byte * 2^99</rasd', /no unit/],
    [/ovf:capacity="\d+"/, 'ovf:capacity="999999999999"', /capacity/],
    [/ovf:capacity="\d+"/, 'ovf:capacity="0"', /capacity/],
    ['ovf:fileRef="file1"', 'ovf:fileRef="file9"', /file9/],
    ['ovf:/disk/vmdisk1', 'ovf:/disk/vmdisk9', /vmdisk9/],
    ['ovf:diskId="vmdisk2"', 'ovf:diskId="vmdisk1"', /two Disks/],
  ];
  for (const [from, to, why] of changes) {
    const place = empty();
    writeFileSync(join(place, 'srv.ovf'), good.replace(from, to));
    writeFileSync(join(place, 'srv-disk-0.vmdk'), '');
    assert.notEqual(good.replace(from, to), good);
    await refused(join(place, 'srv.ovf'), why);
  }
});

test('a small file does not fill the disk of the host', async () => {
  // A gzip of a thousand times its size.
  const packed = empty();
  writeFileSync(join(packed, 'srv.ovf'), vmwareOvf({ capacity: size, disk: 'd.vmdk.gz', gzip: true }));
  writeFileSync(join(packed, 'd.vmdk.gz'), gzipSync(Buffer.alloc(200 << 20), { level: 1 }));
  await refused(join(packed, 'srv.ovf'), /unpacked it has more than/);
  // A split VMDK, all of whose tables are one and the same: 64 GiB out of 200 KiB.
  const split = empty();
  writeFileSync(join(split, 'vm.vmx'), vmxFile({ disk: 'd.vmdk' }));
  const sectors = (64 * 2 ** 30) / 512;
  writeFileSync(
    join(split, 'd.vmdk'),
    `# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\ncreateType="twoGbMaxExtentSparse"\nRW ${sectors} SPARSE "d-s001.vmdk"\nRW 128 SPARSE "d-s001.vmdk"\n`,
  );
  const extent = Buffer.alloc(400 << 10);
  extent.write('KDMV');
  extent.writeUInt32LE(1, 4);
  extent.writeBigUInt64LE(BigInt(sectors), 12);
  extent.writeBigUInt64LE(128n, 20);
  extent.writeUInt32LE(512, 44);
  extent.writeBigUInt64LE(8n, 56);
  for (let table = 0; table < sectors / 128 / 512; table++) extent.writeUInt32LE(100, 4096 + table * 4);
  for (let grain = 0; grain < 512; grain++) extent.writeUInt32LE(200, 51_200 + grain * 4);
  extent.fill(1, 102_400);
  writeFileSync(join(split, 'd-s001.vmdk'), extent);
  await refused(join(split, 'vm.vmx'), /same place again and again/);
  // Disks that hold nothing may be large: they are holes.
  const hollow = empty();
  writeFileSync(
    join(hollow, 'srv.ovf'),
    vmwareOvf({ capacity: 2 ** 40 }).replace(
      /<Disk ovf:capacity="\d+" ovf:capacityAllocationUnits="byte \* 2\^20" ovf:diskId="vmdisk1" ovf:fileRef="file1"/,
      '<Disk ovf:capacity="1048576" ovf:capacityAllocationUnits="byte * 2^20" ovf:diskId="vmdisk1"',
    ),
  );
  const [first] = await readWholeSparse(join(hollow, 'srv.ovf'));
  assert.equal(statSync(first!).size, 2 ** 40);
  assert.equal(statSync(first!).blocks, 0);
});

async function readWholeSparse(path: string): Promise<string[]> {
  await using appliance = await appliances.read(path);
  return [(await appliance.disk(0, empty())).path];
}

test('archives with links, devices, sparse members, many members or endless headers are refused', async () => {
  const descriptor: [string, { content: string }] = [
    'box.ovf',
    { content: virtualBoxOvf({ capacity: size }) },
  ];
  const archives: [RegExp, Buffer][] = [
    [/is a symlink/, writeTar([descriptor, ['box-disk001.vmdk', { type: 'symlink', target: secret }]])],
    [/is a link/, writeTar([descriptor, ['box-disk001.vmdk', { type: 'hardlink', target: secret }]])],
    [/is a char/, writeTar([descriptor, ['box-disk001.vmdk', { type: 'char', major: 1, minor: 5 }]])],
    [/outside of the directory/, writeTar([descriptor, ['/etc/passwd', { content: '' }]])],
    [/2 descriptors/, writeTar([descriptor, ['other.ovf', { content: '' }]])],
    [/0 descriptors/, writeTar([['x', { content: '' }]])],
    [
      /more than 1024 members/,
      writeTar([
        descriptor,
        ...Array.from({ length: 1100 }, (_, index): [string, object] => [`f${index}`, {}]),
      ]),
    ],
    [/checksum is not an octal number/, Buffer.concat([tarEntry(...descriptor), Buffer.alloc(512, 'x')])],
  ];
  for (const [why, content] of archives) {
    const path = join(empty(), 'box.ova');
    writeFileSync(path, content);
    await refused(path, why);
  }
});

test('a differencing disk is never taken for a whole one', async () => {
  const place = empty();
  const real = join(place, 'd2.vhd');
  execFileSync('qemu-img', ['convert', '-f', 'raw', '-O', 'vpc', '-o', 'force_size=on', raw, real]);
  const bytes = readFileSync(real);
  bytes.writeUInt32BE(4, bytes.length - 512 + 60);
  writeFileSync(real, bytes);
  await refused(real, /differencing/);
  const vdi = join(place, 'd.vdi');
  execFileSync('qemu-img', ['convert', '-f', 'raw', '-O', 'vdi', raw, vdi]);
  const head = readFileSync(vdi);
  head.fill(7, 424, 440);
  writeFileSync(vdi, head);
  await refused(vdi, /snapshot/);
});

/** Each parser answers any text or refuses it; it neither hangs nor fails otherwise. */
const tame = (parse: () => unknown): void => {
  try {
    parse();
  } catch (error) {
    assert.ok(isIsleError(error, 'invalidAppliance'), String(error));
  }
};

const bits = fc.oneof(
  fc.string({ maxLength: 30 }),
  fc.constantFrom(
    '=',
    '"',
    "'",
    '[',
    ']',
    ',',
    '\n',
    '"""',
    '#',
    '\\',
    '<a>',
    '</a>',
    '<a b="',
    '/>',
    '<![CDATA[',
    '&amp;',
    '&#0;',
    '<!--',
    '-->',
    'RW 1 FLAT "x" 0\n',
    'SHA1(x)= ',
    'memory = 1',
    'disk',
    'target=',
    'vdev=',
    'cdrom',
    '1'.repeat(20),
  ),
);
const text = fc.array(bits, { maxLength: 40 }).map((parts) => parts.join(''));

test('parsers of text answer or refuse whatever they are given', () => {
  fc.assert(
    fc.property(text, (given) => {
      tame(() => parseVmx(given, 'x'));
      tame(() => parseXl(given, 'x'));
      tame(() => parseXlDisk(given, 'x'));
      tame(() => parseManifest(given, 'x'));
      tame(() => parseVmdkDescriptor(`# Disk DescriptorFile\n${given}`, 'x'));
      tame(() => readXml(Buffer.from(given), 'x', 'a'));
    }),
    { numRuns: 3000 },
  );
});

test('no text makes a parser slow', () => {
  const long = 200_000;
  const started = process.cpuUsage();
  for (const piece of [
    '"',
    "'",
    '[',
    '\\',
    '= ',
    ' ',
    'a',
    'a=',
    '""',
    "'''",
    '#',
    '<',
    '<a',
    '<a ',
    '&',
    ',',
    'RW 1 ',
    'SHA1(',
  ]) {
    const given = piece.repeat(long / piece.length);
    tame(() => parseVmx(given, 'x'));
    tame(() => parseXl(given, 'x'));
    tame(() => parseXlDisk(given, 'x'));
    tame(() => parseManifest(given, 'x'));
    tame(() => parseVmdkDescriptor(`# Disk DescriptorFile\n${given}`, 'x'));
    tame(() => readXml(Buffer.from(given), 'x', 'a'));
  }
  // Quadratic ones take minutes.
  assert.ok(process.cpuUsage(started).user < 20e6);
});

test('a VMCX of any bytes is read or refused', () => {
  const good = readFileSync(samples['Hyper-V 1st generation, VMCX']!(empty(), raw));
  const change = fc.array(
    fc.tuple(fc.integer({ min: 0, max: good.length - 1 }), fc.integer({ min: 0, max: 255 })),
    { maxLength: 30 },
  );
  fc.assert(
    fc.property(change, fc.integer({ min: 0, max: good.length }), (changes, length) => {
      const bytes = Buffer.from(good.subarray(0, length % 3 === 0 ? length : good.length));
      for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
      tame(() => parseVmcx(bytes, 'x'));
    }),
    { numRuns: 500 },
  );
});

test('every kind of machine with bytes changed is read or refused, and nothing else happens', async () => {
  for (const [name, sample] of Object.entries(samples)) {
    const path = sample(empty(), raw);
    const file = statSync(path).isDirectory()
      ? [join(path, 'config.pvs'), join(path, 'DiskDescriptor.xml')].find((each) => existsSync(each))!
      : path;
    const good = readFileSync(file);
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.tuple(fc.nat({ max: Math.min(good.length, 8192) - 1 }), fc.integer({ min: 0, max: 255 })),
          { minLength: 1, maxLength: 8 },
        ),
        fc.nat({ max: good.length }),
        async (changes, cut) => {
          const bytes = Buffer.from(good);
          for (const [at, value] of changes) bytes[at] = value;
          writeFileSync(file, cut % 4 === 0 ? bytes.subarray(0, cut) : bytes);
          try {
            await using appliance = await appliances.read(path);
            const scratch = empty();
            for (const [index, disk] of appliance.machine.disks.entries())
              if (!disk.cdrom) await appliance.disk(index, scratch);
            rmSync(scratch, { recursive: true });
          } catch (error) {
            assert.ok(isIsleError(error, 'invalidAppliance'), `${name}: ${String(error)}`);
          }
        },
      ),
      { numRuns: 12 },
    );
  }
});
