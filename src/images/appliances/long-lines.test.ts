import assert from 'node:assert/strict';
import { test } from 'node:test';
import { osVariantOf } from './os-names.ts';
import { parseVmdkDescriptor } from './vmdk-descriptor.ts';
import { parseVmx } from './vmx.ts';
import { readXml } from './xml.ts';
import { parseXlDisk } from './xl.ts';

const spaces = ' '.repeat(500_000);

// Everybody waits for a pattern that tries every pair of places: with these, for many minutes.
test('long lines are read once, not once for each of their characters', () => {
  const vmx = parseVmx(`memsize = "512"\nannotation = "a${spaces}b"${spaces}\n`, 'vmx');
  assert.deepEqual([vmx.get('memsize'), vmx.get('annotation')], ['512', `a${spaces}b`]);
  const vmdk = `# Disk DescriptorFile\nRW 8 FLAT "a.vmdk" 0\nCID = x${spaces}y${spaces}\nddb.adapterType = "ide" \n`;
  const { contentId, adapterType } = parseVmdkDescriptor(vmdk, 'vmdk');
  assert.deepEqual([contentId, adapterType], [`x${spaces}y`, 'ide']);
  assert.throws(() => readXml(Buffer.from(`<?xml${spaces}`), 'xml', 'a'), /well-formed/);
  assert.equal(readXml(Buffer.from('<?xml version="1.0" encoding="UTF-16"?><a/>'), 'xml', 'a').name, 'a');
  assert.equal(osVariantOf(`Debian 12 ${'('.repeat(500_000)}`), 'debian12');
  assert.equal(parseXlDisk(`format=raw,vdev=xvda,target=${spaces}a b`, 'xl').target, 'a b');
});
