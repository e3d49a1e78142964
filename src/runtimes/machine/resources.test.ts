import assert from 'node:assert/strict';
import { test } from 'node:test';
import { plainHardware } from '../../../test/fixtures/machine-hardware.ts';
import { machineResources } from './resources.ts';
import { translatedSize } from './translated.ts';

const mib = 1024 * 1024;
const spec = { ...plainHardware(), memory: 512 * mib, vcpus: 1, disks: [], uuid: '', snapshots: [] };
const limitOf = (more: object) => (machineResources({}, { ...spec, ...more }).memory ?? 0) / mib;

test('a machine may take what its guest can have, and what its QEMU needs', () => {
  assert.equal(limitOf({}), 512 + 256);
  assert.equal(limitOf({ maxMemory: 2048 * mib }), 2048 + 256);
  assert.equal(limitOf({ graphics: true }), 512 + 256 + 128);
});

test('one with room for processors has it for their code, too, also when they have come', () => {
  assert.equal(limitOf({ maxVcpus: 4 }), 512 + 256 + 236);
  assert.equal(limitOf({ maxVcpus: 4, vcpus: 4 }), 512 + 256 + 236);
  assert.equal(limitOf({ maxVcpus: 64 }), 512 + 256 + 1004);
  assert.equal(limitOf({ maxVcpus: 1 }), 512 + 256);
  assert.equal(translatedSize({ vcpus: 1, maxVcpus: 512 }), 2048, 'QEMU takes no more');
});
