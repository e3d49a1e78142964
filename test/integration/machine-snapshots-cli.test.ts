import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { isle } from '../fixtures/command-line.ts';
import { type ServedMachines, serveMachines } from '../fixtures/fake-machines.ts';
import { diskRequest, machineRequest } from '../fixtures/machine-request.ts';

describe('isle vm: snapshots, clones and saved memory', { concurrency: false }, () => {
  const directory = mkdtempSync(join(tmpdir(), 'isle-vm-snapshots-'));
  const host = join(directory, 'docker.sock');
  let served: ServedMachines;
  before(async () => {
    served = await serveMachines(host);
    await served.fake.engine.machines.create('deb', machineRequest({}, [diskRequest()]));
    await served.fake.engine.machines.create(
      'raw',
      machineRequest({}, [diskRequest(undefined, { format: 'raw' })]),
    );
  });
  after(async () => {
    await served.close();
    rmSync(directory, { recursive: true });
  });
  const vm = (...words: string[]) => isle(host, ['vm', ...words]);
  const ok = async (...words: string[]) => {
    const { code, stdout, stderr } = await vm(...words);
    assert.equal(code, 0, `${words.join(' ')}: ${stderr}`);
    return stdout;
  };
  const refused = async (expected: RegExp, ...words: string[]) => {
    const { code, stderr } = await vm(...words);
    assert.notEqual(code, 0, words.join(' '));
    assert.match(stderr, expected);
  };

  test('a tree is made, shown, gone back in and thinned out, in virsh’s words', async () => {
    assert.equal(await ok('snapshot-create-as', 'deb', 'clean', 'fresh install'), 'clean\n');
    assert.equal(await ok('snapshot-create-as', 'deb', '--name', 'upgrade', '--disk-only'), 'upgrade\n');
    await ok('snapshot-revert', 'deb', 'clean');
    assert.equal(await ok('snapshot-create', 'deb'), 'snap0\n');
    assert.equal(await ok('snapshot-list', 'deb', '--tree'), 'clean\n├── upgrade\n└── snap0 (current)\n');
    assert.equal(await ok('snapshot-list', 'deb', '--name'), 'clean\nupgrade\nsnap0\n');
    assert.match(await ok('snapshot-list', 'deb'), /snap0 \*.*disk-snapshot +clean/);
    const info = await ok('snapshot-info', 'deb', 'clean');
    assert.match(info, /Children: +upgrade, snap0\n/);
    assert.match(info, /Description: +fresh install\n/);
    assert.match(await ok('snapshot-info', 'deb', '--current'), /Name: +snap0/);
    assert.equal(await ok('snapshot-delete', 'deb', 'clean', '--children-only'), 'upgrade\nsnap0\n');
    assert.equal(await ok('snapshot-list', 'deb', '--tree'), 'clean (current)\n');
  });

  test('what is wrong is said with what to do', async () => {
    await refused(/disk vda cannot be in a snapshot: raw/, 'snapshot-create', 'raw');
    await refused(/not digits alone/, 'snapshot-create-as', 'deb', '42');
    await refused(/has a snapshot "clean" already/, 'snapshot-create-as', 'deb', 'clean');
    await refused(
      /has no snapshot "gone": see "isle vm snapshot-list deb"/,
      'snapshot-revert',
      'deb',
      'gone',
    );
    await refused(/has no snapshot/, 'snapshot-delete', 'deb', '../clean');
    await refused(/Name it, or say --current/, 'snapshot-revert', 'deb');
    await refused(/No such virtual machine: nobody/, 'clone', 'nobody', 'x');
    await refused(/--linked or --full, not both/, 'clone', 'deb', 'x', '--linked', '--full');
    await refused(/is a full one/, 'clone', 'deb/clean', 'x', '--linked');
    await refused(/Invalid container name/, 'clone', 'deb', '../x');
    await refused(/does not run/, 'save', 'deb');
    await refused(/no memory of the machine "deb" is saved/, 'managedsave-remove', 'deb');
  });

  test('clones are named, and started when asked; what is saved goes on or is forgotten', async () => {
    const { code, stdout, stderr } = await vm('clone', 'deb/clean', 'then', '--start');
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^[0-9a-f]{64}\n$/);
    assert.match(stderr, /its guest has no cloud-init seed/);
    assert.equal(served.fake.engine.machines.get('then').state.phase, 'running');
    await refused(/"deb" is in use|nameInUse|already in use/, 'clone', 'deb', 'then');
    assert.equal(await ok('save', 'then'), 'then\n');
    assert.equal(served.fake.engine.machines.get('then').spec.machine.saved, true);
    assert.equal(await ok('managedsave-remove', 'then'), 'then\n');
    assert.equal(await ok('clone', 'deb', '--name', 'twin', '--linked').then((id) => id.length), 65);
  });
});
