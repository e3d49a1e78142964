import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { isle, Terminal } from '../fixtures/command-line.ts';
import { type FakeEngine, fakeEngine, withMachines } from '../fixtures/fake-engine.ts';
import { createServer } from '../../src/api/http/server.ts';
import { readLog } from '../../src/lib/k8s-log/read.ts';
import { silentLog } from '../../src/lib/log.ts';

describe('isle vm', { concurrency: false }, () => {
  const directory = mkdtempSync(join(tmpdir(), 'isle-vm-cli-'));
  const host = join(directory, 'docker.sock');
  let fake: FakeEngine;
  let server: Awaited<ReturnType<typeof createServer>>;
  before(async () => {
    fake = await fakeEngine({ readLog }, undefined, withMachines);
    const config = { version: '0.0.0', dataRoot: fake.options.dataRoot };
    server = await createServer({ engine: fake.engine, config, log: silentLog() });
    await server.listen(host);
  });
  after(async () => {
    await server.close();
    await fake.close();
    rmSync(directory, { recursive: true });
  });

  const vm = async (line: string, options?: Parameters<typeof isle>[2]) =>
    await isle(host, ['vm', ...line.split(' ')], options);
  const ok = async (line: string, options?: Parameters<typeof isle>[2]) => {
    const outcome = await vm(line, options);
    assert.equal(outcome.code, 0, `${line}: ${outcome.stderr}`);
    return outcome.stdout;
  };

  test('create makes and starts, list and show say what there is', async () => {
    const made = await vm(
      'create web --memory 256 --vcpus 2,maxvcpus=4 --disk size=1 --os-variant debian12 -p 8080:80',
    );
    assert.deepEqual([made.code, made.stdout], [0, 'web\n'], made.stderr);
    assert.match(await ok('list'), /^NAME +STATE .*\nweb +running +2 +256MiB +debian12/);
    assert.equal(await ok('list --format {{.Name}}:{{.State}}:{{.VCPUs}}'), 'web:running:2\n');
    const shown = await ok('show web');
    assert.match(shown, /^Name: +web\n/);
    assert.match(shown, /CPUs: +2, up to 4, /);
    assert.match(shown, /Disk vda: +web-vda, .* of 1GiB, qcow2, virtio\n/);
    const body = JSON.parse(await ok('show -f json web')) as { Hardware: { Vcpus: number } };
    assert.equal(body.Hardware.Vcpus, 2);
    assert.equal(await ok('domstate web'), 'running\n');
    assert.match(await ok('domblklist web'), /^TARGET .*\nvda +web-vda +qcow2 +virtio /);
    assert.match(await ok('domiflist web'), /^NETWORK +MODEL +MAC /);
    assert.match(await ok('domifaddr web'), /^NAME +MAC ADDRESS +PROTOCOL +ADDRESS\n/);
  });

  test('virsh’s words switch it', async () => {
    assert.equal(await ok('suspend web'), 'web\n');
    assert.match(await ok('list'), /web +paused/);
    await ok('resume web');
    await ok('reboot web');
    await ok('reset web');
    await ok('destroy web');
    assert.equal(await ok('list -q'), '');
    assert.match(await ok('list --all'), /web +shut off/);
    await ok('start web');
    assert.equal(await ok('shutdown --wait web'), 'web\n');
    assert.equal(await ok('domstate web'), 'shut off\n');
  });

  test('edit changes what is said by flags, or in the editor', async () => {
    await ok('edit --memory 512 --description x web');
    const editor = join(directory, 'editor');
    writeFileSync(
      editor,
      '#!/bin/sh\nsed -i "s/^Memory: 512MiB/Memory: 1GiB/; /^Description/d; s/^Tpm: false/Tpm: true/" "$1"\n',
    );
    chmodSync(editor, 0o755);
    assert.equal(await ok('edit web', { env: { EDITOR: editor } }), 'web\n');
    const { Hardware } = JSON.parse(await ok('show -f json web')) as { Hardware: Record<string, unknown> };
    assert.deepEqual([Hardware.Memory, Hardware.Description, Hardware.Tpm], [2 ** 30, undefined, true]);
    assert.match((await vm('edit web', { env: { EDITOR: 'true' } })).stderr, /nothing was changed/);
    const wrong = await vm('edit web', { env: { EDITOR: 'sed -i s/^Vcpus/Vcpu/' } });
    assert.match(wrong.stderr, /unknown field Vcpu \(did you mean "Vcpus"\?\)/);
    assert.equal(wrong.code, 1);
    assert.match((await vm('edit web', { env: { EDITOR: 'false' } })).stderr, /editor false ended with 1/);
    await ok('edit --boot vda web');
  });

  test('names: renamed, suggested, kept apart from containers', async () => {
    await ok('rename web web2');
    const missing = await vm('show wep2');
    assert.match(missing.stderr, /wep2[^]*did you mean web2\?/);
    assert.equal(missing.code, 1);
    const completed = await isle(host, ['__complete', 'vm', 'show', 'w']);
    assert.match(completed.stdout, /^web2\tdebian12 /);
    await ok('rename web2 web');
    const taken = await vm('create web --disk size=1');
    assert.match(taken.stderr, /already in use/);
    const odd = await vm('create ../x --disk size=1');
    assert.match(odd.stderr, /Invalid container name/);
  });

  test('autostart by order', async () => {
    await ok('autostart --order 10 --delay 3 web');
    assert.equal((JSON.parse(await ok('show -f json web')) as { Autostart: boolean }).Autostart, true);
    await ok('autostart --disable web');
    assert.equal((JSON.parse(await ok('show -f json web')) as { Autostart: boolean }).Autostart, false);
  });

  test('remove asks about disks, and needs to be told where it cannot ask', async () => {
    const silent = await vm('remove web');
    assert.match(silent.stderr, /web has disks: say whether they go, too/);
    assert.equal(silent.code, 1);
    {
      await using terminal = new Terminal(host, ['vm', 'remove', 'web']);
      await terminal.until(/Remove the disks of web, too\?/);
      terminal.type('c\r');
      assert.equal(await terminal.code(), 1);
      assert.match(terminal.shown, /cancelled; web stays/);
    }
    {
      await using terminal = new Terminal(host, ['vm', 'undefine', 'web']);
      await terminal.until(/\[c\]ancel: /);
      terminal.type('n\r');
      assert.equal(await terminal.code(), 0);
    }
    await ok('create again --no-start --disk vol=web-vda');
    await ok('remove --disks -f again');
    assert.equal(await ok('list --all -q'), '');
  });

  test('what is refused is said once, with a hint', async () => {
    const none = await vm('create');
    assert.equal(
      none.stderr,
      'isle: nothing to boot from\n      say --image FILE, --cdrom FILE, --disk path=FILE, --import FILE, or --boot kernel=FILE\n',
    );
    assert.match((await vm('create --locations x')).stderr, /unknown flag: --locations/);
    assert.match((await vm('creat')).stderr, /did you mean: isle vm create\?/);
    assert.match(await ok('create --dry-run dry --disk size=1'), /"Name": "dry"/);
  });
});
